"""What the operator wrote: one YAML file, read strictly, with every mistake named by its line.

`schema` says what may be written and is the only place that does; `load` reads a file into it;
`explain` and `json_schema` show the same to people and to editors.
"""

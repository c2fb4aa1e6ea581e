"""What the pages Pool and Cost are put together from: read off the functions that decide."""

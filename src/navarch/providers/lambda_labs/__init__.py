"""Lambda Cloud: on-demand GPU instances over its REST API.

`provider` buys, lists and ends; `answers` knows the words of the API, `tags` how labels travel.
"""

from __future__ import annotations

from navarch.providers.lambda_labs.provider import LambdaProvider, LambdaSettings

__all__ = ["LambdaProvider", "LambdaSettings"]

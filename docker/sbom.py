"""Shorten a CycloneDX document from standard input to the names and versions of packages: `make sbom`.

The addresses of indexes are left out, and so are the hashes, because docker/requirements.lock has them.
"""

import json
import sys

document = json.load(sys.stdin)
for component in [*document["components"], *document["metadata"]["tools"]["components"]]:
    component.pop("externalReferences", None)
    component.pop("description", None)
sys.stdout.write(json.dumps(document, indent=1) + "\n")

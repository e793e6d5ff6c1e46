"""How the documents become a site: `make docs` builds it with MkDocs, and `mkdocs.yml` names the pages.

Pages of `docs/` are taken as they are. The hooks add documents that are kept elsewhere in the repository, and reference
pages that are generated from the code while the site is built, so that none of them can be out of date.
"""

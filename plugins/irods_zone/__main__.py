"""``python -m irods_zone``: run a zone, or check one."""

from .cli import main

if __name__ == "__main__":
    main()

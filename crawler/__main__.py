"""`python -m crawler`: the same as the console script `starttls-crawler`."""

from crawler.commands.main import main

if __name__ == "__main__":
    raise SystemExit(main())

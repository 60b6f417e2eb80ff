"""Tables as spreadsheets and learning platforms save them."""

import csv
import io
from pathlib import Path


def read_csv(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a table, with commas, semicolons or tabs; an empty cell is "".

    Raises:
        ValueError: there is no such file, or it is no text in UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{file} cannot be read ({problem}); save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    columns = [name for name in reader.fieldnames or [] if name]  # a spreadsheet may leave empty ones behind
    return columns, [{name: row[name] or "" for name in columns} for row in reader]

"""Every file at hand and every row of Table E.1-1, anonymised and independently checked."""

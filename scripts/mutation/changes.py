"""What may be changed in a source: each change is small, and builds more often than not."""

import re
from dataclasses import dataclass
from pathlib import Path

from rust_source import Source

OPPOSITE = {
    "==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">",
    "&&": "||", "||": "&&", "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "+=": "-=", "-=": "+=",
    "..": "..=", "..=": "..",
}  # fmt: skip
WORDS = {
    "true": "false", "false": "true", "min": "max", "max": "min", "is_some": "is_none", "is_none": "is_some",
    "is_ok": "is_err", "is_err": "is_ok", "any": "all", "all": "any", "first": "last", "last": "first",
}  # fmt: skip
# Conditions, borders and order in statements of SQL.
SQL = re.compile(r"(?:^|[\s\"(])(SELECT|INSERT|UPDATE|DELETE|WHERE|AND|OR|ORDER BY|LIMIT|VALUES|SET|UNION|FROM)\s")
SQL_CHANGES = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r"(?<=\w) = (?=[\w?:'(])", " <> "),
    (r" <> ", " = "), (r" AND ", " OR "), (r" OR (?!REPLACE|IGNORE|ROLLBACK)", " AND "), (r" DESC\b", ""),
    (r"(ORDER BY \w+)\b(?! DESC)", r"\1 DESC"), (r"\bmin\(", "max("), (r"\bmax\(", "min("), (r"IS NOT NULL", "IS NULL"),
    (r"IS NULL", "IS NOT NULL"), (r"\bNOT (?=IN|EXISTS)", ""), (r"(?<=[ (])(\d+)(?=[ );\"]|$)", lambda n: str(int(n[1]) + 1)),
    (r"OR IGNORE", "OR REPLACE"), (r" \+ ", " - "), (r" - ", " + "), (r"UNION ALL", "UNION"),
]  # fmt: skip
# What a body is replaced by, by what the function returns.
BODIES = [
    (r"^$", "return;"), (r"^bool$", "return true;"), (r"^bool$", "return false;"), (r"^Option<", "return None;"),
    (r"^(?:io::)?Result<\(\)", "return Ok(());"), (r"^Result<bool", "return Ok(false);"), (r"^Result<Option<", "return Ok(None);"),
    (r"^Result<Vec<", "return Ok(Vec::new());"), (r"^(?:u|i)(?:8|16|32|64|size)$", "return 0;"), (r"^Vec<", "return Vec::new();"),
    (r"^Result<(?:u|i)(?:32|64|size)", "return Ok(0);"), (r"^String$", "return String::new();"), (r"^Duration$", "return Duration::ZERO;"),
]  # fmt: skip
STATEMENT = re.compile(r"^[ \t]+[\w.:*]+\([^\n]*\)\??;$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One change: the text at a place of a file, and what stands there instead."""

    path: Path
    start: int
    old: str
    new: str

    def applied(self, text):
        """The file's text with the change."""
        assert text[self.start : self.start + len(self.old)] == self.old, self
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


def changes(source: Source):
    """Every change of a source that is worth a trial."""
    for number, token in enumerate(source.tokens):
        yield from _of_token(source, number, token)
    yield from _statements(source)
    for function in source.functions:
        for returns, body in BODIES:
            if re.match(returns, function.returns):
                yield Change(source.path, function.body, "", f" {body}")


def _of_token(source, number, token):
    spaced = source.text[token.start - 1 : token.start] == " " and source.text[token.end : token.end + 1] in (" ", "\n")
    change = lambda new: Change(source.path, token.start, token.text, new)
    if token.kind == "sign" and token.text in OPPOSITE and (spaced or token.text.startswith("..")):
        yield change(OPPOSITE[token.text])
    elif token.text == "!" and source.tokens[number + 1].kind == "word" and source.tokens[number - 1].kind != "word":
        yield change("")
    elif token.kind == "word" and token.text in WORDS:
        yield change(WORDS[token.text])
    elif token.text == "if" and source.tokens[number + 1].text != "let":
        yield from _condition(source, number)
    elif token.kind == "number" and (plain := token.text.replace("_", "")).isdecimal():
        yield change(str(int(plain) * 2 if int(plain) > 100 else int(plain) + 1))
    elif token.kind == "string" and SQL.search(token.text):
        for old, new in SQL_CHANGES:
            for match in re.finditer(old, token.text):
                yield Change(source.path, token.start + match.start(), match.group(), match.expand(new) if isinstance(new, str) else new(match))


def _condition(source, number):
    """`if a` with its condition turned round: up to the block, or the arrow of a match arm."""
    depth, start = 0, source.tokens[number + 1].start
    for token in source.tokens[number + 1 :]:
        if token.text in "([":
            depth += 1
        elif token.text in ")]":
            depth -= 1
        elif depth == 0 and token.text in ("{", "=>"):
            old = source.text[start : token.start].rstrip()
            if "let " not in old:
                yield Change(source.path, start, old, f"!({old})")
            return


def _statements(source):
    """Calls for their effect, left out."""
    starts = {token.start for token in source.tokens}
    for match in STATEMENT.finditer(source.text):
        begins = match.start() + len(match.group()) - len(match.group().lstrip())
        before = source.text[: match.start()].rstrip()
        if begins in starts and before.endswith((";", "{", "}")):
            yield Change(source.path, begins, match.group().lstrip(), "")

"""A Rust source file as tokens: enough to know what is code, what is a string and where functions are."""

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<string>b?r(?P<hash>\#*)".*?"(?P=hash)|[bc]?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'])')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<number>\d[\w]*(?:\.\d[\w]*)?)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign>&&|\|\||==|!=|<=|>=|->|=>|\+=|-=|<<|>>|\.\.=|\.\.|::|[^\s\w])
    """,
    re.VERBOSE | re.DOTALL,
)


# What stands before an item that is only for tests, seven tokens.
NOT_IN_THE_PROGRAM = ("#[cfg(test)]", "#[cfg(fuzzing)]", "#[cfg(debug_assertions)]")


@dataclass(frozen=True)
class Token:
    """A token with its kind and its place in the text."""

    kind: str
    text: str
    start: int

    @property
    def end(self):
        return self.start + len(self.text)


@dataclass(frozen=True)
class Function:
    """A function that is no test: its name, what it returns, and where its body begins and ends."""

    name: str
    returns: str
    body: int
    end: int


class Source:
    """One file of src/, without its tests."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.tokens = [
            Token(match.lastgroup if match.lastgroup != "hash" else "string", match.group(), match.start()) for match in TOKEN.finditer(text)
        ]
        self.tokens = [token for token in self.tokens if token.kind != "comment"]
        self._leave_out_tests()
        self.functions = list(self._functions())

    def line(self, offset):
        """The number of the line that holds this place."""
        return self.text.count("\n", 0, offset) + 1

    def function_at(self, offset):
        """The innermost function around a place; None outside of functions."""
        around = [function for function in self.functions if function.body <= offset < function.end]
        return max(around, key=lambda function: function.body, default=None)

    def _leave_out_tests(self):
        """Takes out each item under one of NOT_IN_THE_PROGRAM."""
        kept, at = [], 0
        while at < len(self.tokens):
            if "".join(token.text for token in self.tokens[at : at + 7]) in NOT_IN_THE_PROGRAM:
                at = self._end_of_item(at + 7)
            else:
                kept.append(self.tokens[at])
                at += 1
        self.tokens = kept

    def _end_of_item(self, at):
        """Behind the item that begins here: its `;`, or the end of its first block."""
        depth = 0
        while at < len(self.tokens):
            text = self.tokens[at].text
            at += 1
            if text in "([{":
                depth += 1
            elif text in ")]}":
                depth -= 1
                if depth == 0 and text == "}":
                    break
            elif text == ";" and depth == 0:
                break
        return at

    def _functions(self):
        for at, token in enumerate(self.tokens[:-1]):
            if token.text != "fn" or self.tokens[at + 1].kind != "word":
                continue
            if at and any(before.text == "const" for before in self.tokens[max(0, at - 2) : at]):
                continue
            opening = self._opening(at)
            if opening is None:
                continue
            end = self._end_of_item(opening)
            head = self.text[token.start : self.tokens[opening].start]
            returns = head.rsplit("->", 1)[1].split("where")[0].strip() if "->" in head else ""
            yield Function(self.tokens[at + 1].text, returns, self.tokens[opening].end, self.tokens[end - 1].start)

    def _opening(self, at):
        """The number of the token that opens the body; None for a function without one."""
        depth = 0
        for number in range(at, len(self.tokens)):
            text = self.tokens[number].text
            if text in ("(", "["):
                depth += 1
            elif text in (")", "]"):
                depth -= 1
            elif depth == 0 and text in ("{", ";"):
                return number if text == "{" else None
        return None


def sources(root):
    """The files of src/ that are in the program."""
    tests = {"tests.rs", "fuzzing.rs"}
    found = []
    for path in sorted((root / "src").rglob("*.rs")):
        if path.name in tests or any(part in ("tests",) for part in path.parts):
            continue
        found.append(path)
    declared = _only_for_tests(found)
    return [
        Source(path.relative_to(root), path.read_text(encoding="utf-8"))
        for path in found
        if not any(path == at or at.with_suffix("") in path.parents for at in declared)
    ]


def _only_for_tests(paths):
    """The files whose `mod` stands under #[cfg(test)] or #[cfg(debug_assertions)]."""
    declaration = re.compile(r"#\[cfg\((?:test|debug_assertions|fuzzing|any\(test[^)]*\))\)\]\s*(?:pub(?:\([a-z]+\))? )?mod (\w+);")
    found = set()
    for path in paths:
        place = path.parent if path.name in ("mod.rs", "lib.rs", "main.rs") else path.with_suffix("")
        for name in declaration.findall(path.read_text(encoding="utf-8")):
            found.add(place / f"{name}.rs")
    return found

#!/usr/bin/env python3
"""Makes the manual pages and the completion of bash, for a package.

    scripts/manual.py PUNCHD DIRECTORY

punchd.8 and the completion come from what the program PUNCHD says in `punchd help`, punchd.toml.5 and punchd-drivers.7 from
docs/configuration.md and docs/drivers.md, by way of lowdown. So nothing stands in two places.
"""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# Options with a value: what can stand there. Another takes any word.
FILES = {"--config", "-c"}
DEVICES = {"card-reader"}


def help_of(program, *command):
    return subprocess.run([program, "help", *command], check=True, capture_output=True, text=True).stdout


def commands_of(program):
    """Each command with its line in the list."""
    listed = help_of(program).split("Commands:\n")[1].split("\n\n")[0]
    return dict(line.split(maxsplit=1) for line in listed.splitlines())


def roff(text):
    """Text as roff takes it: no character of it means anything else."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^(?=\.)", r"\\&", text, flags=re.M)


def verbatim(text):
    return f".nf\n{roff(text.strip())}\n.fi\n"


def program_page(program, version):
    """punchd.8."""
    general = help_of(program)
    usage = re.search(r"Usage: (.*)", general)[1]
    about = " ".join(general.split("\n\n")[0].split())
    codes = general.split("Exit codes:\n")[1].split("\n\n")[0]
    options = general.split("Options of every command:\n")[1].split("\n\n")[0]
    page = f'.TH PUNCHD 8 "" "punchd {version}" "System administration"\n'
    page += f".SH NAME\npunchd \\- the software on an attendance terminal\n.SH SYNOPSIS\n.B {roff(usage)}\n"
    page += f".SH DESCRIPTION\n{roff(about)}\n.SH COMMANDS\n"
    for name, summary in commands_of(program).items():
        text = help_of(program, name).split("Options of every command:\n")[0]
        page += f".SS {roff(name)}: {roff(summary)}\n{verbatim(text)}"
    page += f".SH OPTIONS OF EVERY COMMAND\n{verbatim(options)}.SH EXIT STATUS\n{verbatim(codes)}"
    page += ".SH FILES\n.TP\n.I /etc/punchd.toml\nthe configuration\n.TP\n.I /var/lib/punchd/punchd.db\nthe store\n"
    page += ".TP\n.I /run/punchd/driver.sock\nthe socket of the drivers\n"
    return page + ".SH SEE ALSO\n.BR punchd.toml (5),\n.BR punchd\\-drivers (7)\n"


def document_page(document, name, section, summary, version):
    """A page of a document: what follows its title."""
    text = (PROJECT / "docs" / document).read_text()
    title, text = text.split("\n", 1)
    assert title.startswith("# "), title
    # Links to other documents say where they lead as text, those within the page nothing.
    text = re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\((?!http)[^)]*\)", r"\1", text)
    made = subprocess.run(["lowdown", "-Tman"], input=text, check=True, capture_output=True, text=True).stdout
    head = f'\'\\" t\n.TH {name.upper()} {section} "" "punchd {version}"\n.SH NAME\n{roff(name)} \\- {roff(summary)}\n.SH DESCRIPTION\n'
    return head + made


def completion(program):
    """What bash completes: commands, and the options that the help of each names."""

    def options(text):
        return sorted(set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, flags=re.M)))

    names = commands_of(program)
    lines = ["# Completion of bash for punchd.", "_punchd() {", "    local word=${COMP_WORDS[COMP_CWORD]} command= words"]
    lines += ['    for words in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', "        case $words in"]
    lines += [f"        {'|'.join(names)})", "            command=$words", "            break ;;", "        esac", "    done"]
    lines += ["    case ${COMP_WORDS[COMP_CWORD - 1]} in", f"    {'|'.join(sorted(FILES))})"]
    lines += ['        mapfile -t COMPREPLY < <(compgen -f -- "$word")', "        return ;;", "    esac", "    case $command in"]
    for name in names:
        text = help_of(program, name)
        words = options(text)
        if name == "help":
            words = [*names, *words]
        if name == "quarantine":
            words = ["list", "retry", "drop", *words]
        files = " -f" if name in DEVICES | {"import"} else ""
        lines += [f"    {name})", f"        mapfile -t COMPREPLY < <(compgen{files} -W '{' '.join(words)}' -- \"$word\") ;;"]
    words = [*names, *options(help_of(program))]
    lines += ["    *)", f"        mapfile -t COMPREPLY < <(compgen -W '{' '.join(words)}' -- \"$word\") ;;", "    esac", "}"]
    return "\n".join([*lines, "complete -o filenames -F _punchd punchd"]) + "\n"


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 64)
    program, directory = sys.argv[1], Path(sys.argv[2])
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    directory.mkdir(parents=True, exist_ok=True)
    pages = {
        "punchd.8": program_page(program, version),
        "punchd.toml.5": document_page("configuration.md", "punchd.toml", 5, "configuration of punchd", version),
        "punchd-drivers.7": document_page("drivers.md", "punchd-drivers", 7, "how drivers talk to punchd", version),
        "punchd.bash": completion(program),
    }
    for name, text in pages.items():
        (directory / name).write_text(text)


main()

#!/usr/bin/env python3
"""Makes the manual pages and the completion of bash, for a package.

    scripts/manual.py PUNCHD DIRECTORY

punchd.8 and the completion come from what the program PUNCHD says in `punchd help`, punchd.toml.5 and punchd-drivers.7 from
docs/configuration.md and docs/drivers.md, by way of lowdown. So nothing stands in two places.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# Where a package has the documents, and the examples.
INSTALLED = "/usr/share/doc/punchd"

# What only an administrator needs to know, and no help of a command says.
SERVICE = r"""The service
.B punchd
of systemd runs
.BR "punchd run" .
To enable it and to start it, once
.B punchd check
finds no fault:
.B systemctl enable \-\-now punchd
.PP
With a configuration that cannot be used it ends with the exit code 78, and is not started again: after the fault is mended,
.BR "systemctl restart punchd" .
After another change of the configuration,
.B systemctl reload punchd
is enough, where no key is changed that needs a restart.
.PP
Root, and the members of the group
.BR punchd ,
may use the socket, and so the commands that ask the running punchd:
.B adduser NAME punchd
.SH LOG
punchd writes its log to standard error. With systemd it is in the journal:
.B journalctl \-u punchd
.PP
With the init script it goes to syslog (facility daemon): to /var/log/messages or /var/log/syslog, as syslog is set up.
"""

FILES_OF_PUNCHD = {
    "/etc/punchd.toml": "the configuration, punchd.toml(5)",
    "/etc/punchd.serial": "the serial number, if the configuration names this file (serial_file)",
    "/var/lib/punchd/punchd.db": "the store",
    "/run/punchd/driver.sock": "the socket of the drivers",
    f"{INSTALLED}/": "the documents (*.md.gz: zless), examples of drivers and scripts (examples)",
}

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
    # Its columns: the first line, too, keeps its blanks.
    return f".EX\n{roff(textwrap.dedent(text).strip(chr(10)))}\n.EE\n"


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
        text = help_of(program, name).split("Options of every command:\n")[0].replace("docs/", f"{INSTALLED}/")
        page += f".SS {roff(name)}: {roff(summary)}\n{verbatim(text)}"
    page += f".SH OPTIONS OF EVERY COMMAND\n{verbatim(options)}.SH EXIT STATUS\n{verbatim(codes)}"
    page += f".SH SERVICE\n{SERVICE}.SH FILES\n"
    page += "".join(f".TP\n.I {roff(file)}\n{roff(what)}\n" for file, what in FILES_OF_PUNCHD.items())
    return page + f".SH SEE ALSO\n.BR punchd.toml (5),\n.BR punchd\\-drivers (7),\n.BR journalctl (1)\n.PP\n{roff(INSTALLED)}/operating.md.gz\n"


def document_page(document, name, section, summary, version):
    """A page of a document: what follows its title."""
    text = (PROJECT / "docs" / document).read_text()
    title, text = text.split("\n", 1)
    assert title.startswith("# "), title
    # Links to other documents say as text which file it is, those within the page nothing.
    text = re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\((?!http)([^)#]*)[^)]*\)", with_file, text)
    # `CAP_SYS_TIME` has no emphasis in it.
    made = subprocess.run(["lowdown", "-Tman", "--parse-no-intraemph"], input=text, check=True, capture_output=True, text=True).stdout
    head = f'\'\\" t\n.TH {name.upper()} {section} "" "punchd {version}"\n.SH NAME\n{roff(name)} \\- {roff(summary)}\n.SH DESCRIPTION\n'
    return head + made + f".SH FILES\n{roff(INSTALLED)}/ has the documents that this page names\n"


def with_file(link):
    """The text of a link, and the file that it leads to, as a package has it."""
    text, file = link[1], link[2].removeprefix("../")
    name = file.rsplit("/")[-1]
    return text if name in text else f"{text} ({file})"


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

//! "Link faults" of docs/operating.md, word for word: each row of its tables is a fault here, against
//! a real socket, and what `punchd status` and `punchd doctor` say of it is what the row says.

use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use crate::harness::{Terminal, second, until};

mod answers;
mod configuration;
mod connections;
mod document;
mod peers;
mod proxies;
mod tls;

use document::Row;
use peers::{Certificates, Link};

/// A fault of the link.
pub struct Fault {
    /// As the document has it, in the first column.
    name: &'static str,
    given: Box<dyn Fn(&Certificates) -> Link + Send + Sync>,
}

impl Fault {
    fn new(
        name: &'static str,
        given: impl Fn(&Certificates) -> Link + Send + Sync + 'static,
    ) -> Self {
        Self { name, given: Box::new(given) }
    }
}

/// Terminals that run at once.
const AT_ONCE: usize = 8;
/// What the doctor checks of the link. The rest is as it should be, or not the link's.
const OF_LINK: [&str; 7] = ["name", "tcp", "proxy", "tls", "redirect", "handshake", "requests"];

#[test]
fn each_link_fault_has_the_words_of_the_document() {
    let mut cases = Vec::new();
    for (heading, faults) in [
        ("Connection", connections::faults()),
        ("TLS handshake", tls::handshakes()),
        ("Certificates", tls::certificates()),
        ("Proxy", proxies::faults()),
        ("Answers to the handshake", answers::handshakes()),
        ("Answers to uploads and polls", answers::others()),
    ] {
        let rows = document::rows(heading);
        let named: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        let documented: Vec<&str> = rows.iter().map(|row| &*row.fault).collect();
        assert_eq!(named, documented, "{heading}");
        cases.extend(faults.into_iter().zip(rows));
    }
    assert!(cases.len() >= 60, "{}", cases.len());

    let certificates = Mutex::new(Certificates::make());
    let (next, wrong) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((fault, row)) = { next.lock().unwrap().next() } {
                    let link = (fault.given)(&certificates.lock().unwrap());
                    let differences = differences(row, link);
                    wrong.lock().unwrap().extend(differences);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is said otherwise than the row has it.
fn differences(row: &Row, link: Link) -> Option<String> {
    let mut terminal = Terminal::prepare(&link.url, &link.more);
    if link.has_no_network {
        // Where no such network can be made, there is nothing to see.
        terminal.run_on_a_network_of_its_own()?;
    } else {
        terminal.run();
    }
    if link.has_punch {
        terminal.wait_until_online();
        terminal.driver().punch("7", &second(1));
    }
    let said = match row.logged() {
        Some(line) => {
            until(line, || terminal.log().replace('`', "").contains(line), || terminal.log());
            String::new()
        }
        None if row.is_silent() => {
            terminal.wait_until_online();
            String::new()
        }
        None => trouble(&terminal),
    };
    let found = examined(&terminal, link.has_no_network);
    let is_right = row.fits(&said, &found, &link.address);
    let found = found.iter().map(|(check, said)| format!("  {check}: {said}")).collect::<Vec<_>>();
    let Row { fault, .. } = row;
    (!is_right).then(|| format!("{fault} ({})\n  {said}\n{}\n", link.address, found.join("\n")))
}

/// What `status` says, once there is something.
fn trouble(terminal: &Terminal) -> String {
    let status = terminal.wait_for("in trouble", |status| status["trouble"].is_string());
    let trouble = status["trouble"].as_str().unwrap();
    trouble.strip_prefix("connecting: ").unwrap_or(trouble).to_owned()
}

/// What the doctor complains of: check and message, a warning with that word before it.
fn examined(terminal: &Terminal, has_no_network: bool) -> Vec<(String, String)> {
    let mut command = terminal.command(&["doctor", "--json"]);
    if has_no_network {
        let mut unshare = Command::new("unshare");
        unshare.args(["-r", "-n"]).arg(command.get_program()).args(command.get_args());
        command = unshare;
    }
    let output = command.stdout(std::process::Stdio::piped()).output().unwrap();
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of_link = |it: &&Value| OF_LINK.contains(&it["check"].as_str().unwrap());
    let complaints = found.iter().filter(of_link).filter(|it| it["level"] != "ok");
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    complaints
        .map(|it| {
            let warning = if it["level"] == "warning" { "warning " } else { "" };
            let remedy = it["remedy"].as_str().map(|remedy| format!(": {remedy}"));
            let check = format!("{warning}{}", text(it, "check"));
            (check, format!("{}{}", text(it, "message"), remedy.unwrap_or_default()))
        })
        .collect()
}

//! `punchd quarantine`: rows that the server refuses.

use std::path::Path;

use serde_json::json;

use super::arguments::{Argument, Arguments, Halt};
use super::call::{call, print};
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::rpc::Method;
use crate::store::Seq;

pub const PAGE: Page = Page {
    name: "quarantine",
    arguments: "[list | retry [NUMBER...] | drop [NUMBER...]]",
    summary: "list, resend or give up the rows that the server refuses",
    details: "\
Rows that the server refuses do not hold up the others: they are passed over,
and set aside once they were refused three times over ten minutes or more. They
are offered again after an hour, then daily.
A row that is given up stays in the store, but the server never gets it.

  list                show these rows with the server's message (default)
  retry               send all of them again
  retry NUMBER...       send the rows with these numbers (\"seq\") again
  drop                give up all of them
  drop NUMBER...        give up the rows with these numbers

If there is no row in quarantine with a NUMBER, a message says so, and the
exit code is 66; the other rows are sent again or given up nevertheless.

Example:
  punchd quarantine drop 4711 4712
",
};

#[derive(Debug, PartialEq)]
pub enum Quarantine {
    List,
    Retry(Rows),
    Drop(Rows),
}

/// Which rows.
#[derive(Debug, PartialEq)]
pub enum Rows {
    All,
    Numbers(Vec<Seq>),
}

impl Quarantine {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut action: Option<String> = None;
        let mut numbers = Vec::new();
        while let Some(argument) = arguments.next()? {
            let Argument::Argument(argument) = &argument else { return Err(argument.unexpected()) };
            let text = argument.to_string_lossy();
            match (text.parse(), &action) {
                (Ok(number @ 1..), _) if numbers.contains(&number) => {}
                (Ok(number @ 1..), _) => numbers.push(number),
                (_, None) => action = Some(text.into_owned()),
                (_, Some(action)) => {
                    return Err(Halt::Usage(format!(
                        "{text:?} after {action} is not the number of a row"
                    )));
                }
            }
        }
        match (action.as_deref(), numbers.is_empty()) {
            (None | Some("list"), true) => Ok(Self::List),
            (None | Some("list"), false) => Err(Halt::Usage(format!(
                "row {} is named, but not what to do with it: retry or drop",
                numbers[0]
            ))),
            (Some("retry"), _) => Ok(Self::Retry(Rows::from(numbers))),
            (Some("drop"), _) => Ok(Self::Drop(Rows::from(numbers))),
            (Some(other), _) => Err(Halt::Usage(format!("{other:?} is none of list, retry, drop"))),
        }
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let (action, rows) = match self {
            Self::List => {
                let rows = call(config, Method::Quarantine, &json!({"action": "list"}))?;
                print(&format!("{rows:#}\n"));
                return Ok(());
            }
            Self::Retry(rows) => ("retry", rows),
            Self::Drop(rows) => ("drop", rows),
        };
        let mut changed = 0;
        let mut missing = Vec::new();
        match rows {
            Rows::All => changed = change(config, action, None)?,
            Rows::Numbers(numbers) => {
                for &number in numbers {
                    match change(config, action, Some(number))? {
                        0 => missing.push(number.to_string()),
                        rows => changed += rows,
                    }
                }
            }
        }
        print(&format!("{changed} row{}\n", if changed == 1 { "" } else { "s" }));
        if missing.is_empty() {
            return Ok(());
        }
        let message =
            format!("not in quarantine: {}; see punchd quarantine list", missing.join(", "));
        Err(Failure::new(Exit::NoInput, message))
    }
}

/// Has the daemon do it with one row, or with all; how many rows there were.
fn change(config: &Path, action: &str, seq: Option<Seq>) -> Result<u64, Failure> {
    let done = call(config, Method::Quarantine, &json!({"action": action, "seq": seq}))?;
    Ok(done["rows"].as_u64().unwrap_or(0))
}

impl From<Vec<Seq>> for Rows {
    fn from(numbers: Vec<Seq>) -> Self {
        if numbers.is_empty() { Self::All } else { Self::Numbers(numbers) }
    }
}

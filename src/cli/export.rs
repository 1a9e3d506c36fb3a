//! `punchd export`: all punches as CSV, page by page.

use std::path::Path;

use serde_json::{Value, json};

use super::call::{call, print};
use super::exit::Failure;
use super::page::Page;
use crate::csv;
use crate::rpc::Method;

pub const PAGE: Page = Page {
    name: "export",
    arguments: "",
    summary: "print all punches as CSV",
    details: "\
Prints all punches that the running punchd keeps, as CSV for `punchd import`
or a spreadsheet. The first line names the columns.

Example:
  punchd export > punches.csv
",
};

pub fn run(config: &Path) -> Result<(), Failure> {
    // Where there is no answer, nothing is printed.
    let mut header = Some(csv::HEADER);
    let mut after = Value::from(0);
    while !after.is_null() {
        let mut page = call(config, Method::Export, &json!({"after": after}))?;
        let rows = page["rows"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for line in header.take().into_iter().chain(rows) {
            print(&format!("{line}\n"));
        }
        after = page["next"].take();
    }
    Ok(())
}

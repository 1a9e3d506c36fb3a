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
    let mut header = format!("{}\n", csv::HEADER);
    let mut after = Value::from(0);
    while !after.is_null() {
        let mut page = call(config, Method::Export, &json!({"after": after}))?;
        // Where there is no answer, there is no header either.
        print(&std::mem::take(&mut header));
        for row in page["rows"].as_array().into_iter().flatten() {
            print(&format!("{}\n", row.as_str().unwrap_or_default()));
        }
        after = page["next"].take();
    }
    Ok(())
}

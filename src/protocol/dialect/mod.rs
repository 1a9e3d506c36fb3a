//! How requests are written: the document's way (§6, §10, §11.2), unless `[dialect]` names a
//! firmware family or sets single things otherwise.
//!
//! Servers in the field were built round the firmware that their owners had, and some read
//! nothing else: a row of other than eleven fields, a path without its suffix. A dialect
//! changes how things are written, never what is true: the rows, their order and the place
//! to which an acknowledgement moves a cursor are the same in each.

mod families;
mod settings;

use std::fmt::Write as _;

use serde::Deserialize;

pub use families::Family;

use super::codes::Language;
use super::device::DeviceInfo;
use super::query::Target;
use super::record::Punch;
use super::stream::Table;
use super::version::Version;

/// The fields of an attendance row in the document.
const DOCUMENT_FIELDS: usize = 7;

/// What field firmware sends for every stamp.
const FIXED_STAMP: &str = "9999";

/// How requests are written. By default as in the document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "settings::Settings")]
pub struct Dialect {
    /// Fields of an attendance row, 7 to 11.
    attlog_fields: usize,
    /// An absent work code is empty, not 0.
    empty_workcode: bool,
    /// The fields after the document's seven are empty, not 0.
    empty_extra: bool,
    /// The last field of an attendance row is a running index.
    running_index: bool,
    /// Whether stamps are 9999 whatever was sent.
    fixed_stamp: bool,
    /// The stamp of the operation log is called `OpStamp`.
    op_stamp: bool,
    /// How many values `INFO` has: 0 (no `INFO`), 6, 10 or 13.
    info_values: usize,
    /// What follows each path, such as `.aspx`.
    suffix: String,
    /// `DeviceType` in the handshake; empty for none.
    device_type: String,
    /// `PushOptionsFlag=1` in the handshake.
    push_options_flag: bool,
    /// `language` stands before `pushver` in the handshake.
    language_first: bool,
    /// What the handshake says in place of the real version; empty for the real one.
    pushver: String,
    /// Send every reply to a command in a POST of its own.
    pub replies_alone: bool,
    /// Send the rows of the operation log as tgz when that is worth it (§11.14).
    pub packed: bool,
    /// Answer `VERIFY SUM` with `AttlogCount` too, which a vendor's server reads.
    pub attlog_count: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            attlog_fields: DOCUMENT_FIELDS,
            empty_workcode: false,
            empty_extra: false,
            running_index: false,
            fixed_stamp: false,
            op_stamp: false,
            info_values: 10,
            suffix: String::new(),
            device_type: String::new(),
            push_options_flag: false,
            language_first: false,
            pushver: String::new(),
            replies_alone: false,
            packed: false,
            attlog_count: false,
        }
    }
}

impl Dialect {
    /// The path of a request, such as `/iclock/cdata`, with the dialect's suffix.
    pub fn path(&self, base: &str) -> String {
        format!("{base}{}", self.suffix)
    }

    /// The target of the handshake (§6). `comm_key` is left out when it is empty.
    pub fn handshake(
        &self,
        serial: &str,
        language: Language,
        version: Version,
        comm_key: &str,
    ) -> Target {
        let pushver = match self.pushver.as_str() {
            "" => version.to_string(),
            other => other.to_owned(),
        };
        let target = Target::new(&self.path("/iclock/cdata"), serial).with("options", "all");
        let mut target = if self.language_first {
            target.with("language", language.0).with("pushver", pushver)
        } else {
            target.with("pushver", pushver).with("language", language.0)
        };
        if !comm_key.is_empty() {
            target = target.with("pushcommkey", comm_key);
        }
        if !self.device_type.is_empty() {
            target = target.with("DeviceType", &self.device_type);
        }
        if self.push_options_flag {
            target = target.with("PushOptionsFlag", 1);
        }
        target
    }

    /// The name and the value of the stamp on an upload whose last row is `seq`.
    pub fn stamp(&self, table: Table, seq: i64) -> (&'static str, String) {
        let is_op = self.op_stamp && table == Table::Operlog;
        let name = if is_op { "OpStamp" } else { "Stamp" };
        (name, if self.fixed_stamp { FIXED_STAMP.to_owned() } else { seq.to_string() })
    }

    /// Writes an attendance row (§11.2) without its line end.
    ///
    /// `index` goes where the firmware has its running index. It must belong to the row, not
    /// to its place in a request: a row that is sent again has the same bytes.
    pub fn write_punch(&self, punch: &Punch, index: i64, out: &mut Vec<u8>) {
        if self.empty_workcode && punch.workcode.as_str() == "0" {
            let Punch { pin, time, status, verify, .. } = punch;
            out.extend_from_slice(format!("{pin}\t{time}\t{status}\t{verify}\t\t0\t0").as_bytes());
        } else {
            punch.write(out);
        }
        let mut rest = String::new();
        for field in DOCUMENT_FIELDS + 1..=self.attlog_fields {
            rest.push('\t');
            if self.running_index && field == self.attlog_fields {
                // Writing to a String cannot fail.
                let _ = write!(rest, "{index}");
            } else if !self.empty_extra {
                rest.push('0');
            }
        }
        out.extend_from_slice(rest.as_bytes());
    }

    /// The value of `INFO` on a poll (§10), if the dialect has one.
    pub fn info(&self, device: &DeviceInfo) -> Option<String> {
        (self.info_values > 0).then(|| device.values()[..self.info_values].join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::device::Functions;
    use crate::protocol::record::{Pin, WorkCode};
    use crate::protocol::time::LocalTime;

    const VERSION: Version = Version(2, 4, 1);

    fn punch(workcode: &str) -> Punch {
        Punch {
            pin: Pin::new("1452").unwrap(),
            time: LocalTime::parse("2015-07-30 15:16:28").unwrap(),
            status: 0,
            verify: 1,
            workcode: WorkCode::new(workcode).unwrap(),
        }
    }

    fn row(dialect: &Dialect, punch: &Punch) -> String {
        let mut row = Vec::new();
        dialect.write_punch(punch, 17, &mut row);
        String::from_utf8(row).unwrap()
    }

    fn dialect(settings: &str) -> Dialect {
        toml::from_str(settings).unwrap()
    }

    #[test]
    fn by_default_everything_is_as_in_the_document() {
        let document = dialect("");
        assert_eq!(document, Dialect::default());
        assert_eq!(document, dialect("family = \"document\""));

        let old = Version(2, 2, 14);
        let key = "4a9594af164f2b9779b59e8554b5df26";
        let target = document.handshake("0316144680030", Language(83), old, key);
        assert_eq!(
            target.as_str(),
            "/iclock/cdata?SN=0316144680030&options=all&pushver=2.2.14&language=83\
             &pushcommkey=4a9594af164f2b9779b59e8554b5df26"
        );
        assert_eq!(row(&document, &punch("")), "1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0");
        assert_eq!(document.stamp(Table::Attlog, 42), ("Stamp", "42".into()));
        assert_eq!(document.stamp(Table::Operlog, 42), ("Stamp", "42".into()));
        assert_eq!(document.path("/iclock/devicecmd"), "/iclock/devicecmd");

        let device = DeviceInfo {
            firmware: "Ver 2.0.12-20150625".into(),
            address: [192, 168, 16, 27].into(),
            fp_version: 10,
            face_version: 7,
            faces_needed: 15,
            functions: Functions { fingerprint: true, face: true, user_photo: true, visible: None },
            ..DeviceInfo::default()
        };
        let poll = Target::new(&document.path("/iclock/getrequest"), "0316144680030")
            .with("INFO", document.info(&device).unwrap());
        assert_eq!(
            poll.as_str(),
            "/iclock/getrequest?SN=0316144680030&INFO=Ver%202.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111"
        );
    }

    #[test]
    fn a_row_has_the_fields_that_are_set() {
        for (settings, fields) in [
            ("", "0|0|0"),
            ("empty_workcode = true", "|0|0"),
            ("attlog_fields = 8", "0|0|0|0"),
            ("attlog_fields = 9\nempty_extra = true", "0|0|0||"),
            ("attlog_fields = 8\nrunning_index = true", "0|0|0|17"),
            ("attlog_fields = 11\nrunning_index = true", "0|0|0|0|0|0|17"),
            ("attlog_fields = 11\nrunning_index = true\nempty_extra = true", "0|0|0||||17"),
            ("attlog_fields = 11\nempty_workcode = true", "|0|0|0|0|0|0"),
        ] {
            let row = row(&dialect(settings), &punch(""));
            let workcode_on: Vec<&str> = row.split('\t').skip(4).collect();
            assert_eq!(workcode_on.join("|"), fields, "{settings:?}");
        }
    }

    #[test]
    fn a_work_code_that_is_there_is_never_left_empty() {
        let row = row(&dialect("empty_workcode = true"), &punch("W7"));
        assert_eq!(row, "1452\t2015-07-30 15:16:28\t0\t1\tW7\t0\t0");
    }

    #[test]
    fn info_has_as_many_values_as_are_set_or_is_not_there() {
        for (settings, values) in [
            ("info_values = 0", None),
            ("info_values = 6", Some(6)),
            ("info_values = 13", Some(13)),
        ] {
            let info = dialect(settings).info(&DeviceInfo::default());
            assert_eq!(info.map(|info| info.split(',').count()), values, "{settings}");
        }
    }

    #[test]
    fn only_the_operation_log_has_an_op_stamp() {
        let own = dialect("op_stamp = true");
        assert_eq!(own.stamp(Table::Operlog, 42), ("OpStamp", "42".into()));
        assert_eq!(own.stamp(Table::Attlog, 42), ("Stamp", "42".into()));
        let fixed = dialect("stamp = \"9999\"");
        assert_eq!(fixed.stamp(Table::Operlog, 42), ("Stamp", "9999".into()));
    }

    #[test]
    fn the_handshake_says_what_is_set() {
        for (settings, key, rest) in [
            ("", "", "&pushver=2.4.1&language=69"),
            ("language_first = true", "k", "&language=69&pushver=2.4.1&pushcommkey=k"),
            ("pushver = \"2.32\"", "", "&pushver=2.32&language=69"),
            ("device_type = \"a&b=c\"", "", "&pushver=2.4.1&language=69&DeviceType=a%26b%3Dc"),
            (
                "push_options_flag = true\ndevice_type = \"acc\"",
                "k",
                "&pushver=2.4.1&language=69&pushcommkey=k&DeviceType=acc&PushOptionsFlag=1",
            ),
        ] {
            let target = dialect(settings).handshake("MADE01", Language::ENGLISH, VERSION, key);
            let whole = format!("/iclock/cdata?SN=MADE01&options=all{rest}");
            assert_eq!(target.as_str(), whole, "{settings:?}");
        }
    }
}

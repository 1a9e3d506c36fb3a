//! How requests are written: as in the document (§6, §10, §11.2), unless the configuration names
//! a firmware family or changes single settings.
//!
//! Servers in the field were made for the firmware of their owners. Some of them read nothing
//! else: only rows of eleven fields, or only paths with a suffix. A dialect changes how requests
//! are written, not their content: the rows, their order, and the movement of cursors by an
//! acknowledgement are the same in all dialects.

mod families;

pub use families::Family;

use super::codes::Language;
use super::device::DeviceInfo;
use super::query::Target;
use super::record::{Punch, User, Validity};
use super::stream::Table;
use super::text::{self, write_number};
use super::version::Version;

/// The fields of an attendance row in the document.
pub(crate) const DOCUMENT_FIELDS: usize = 7;

/// The fields of a row with mask and temperature.
const MASK: usize = DOCUMENT_FIELDS + 1;
const CELSIUS: usize = MASK + 1;
/// The last of them.
pub(crate) const FAHRENHEIT: usize = CELSIUS + 1;

/// The stamp of firmware that always sends the same.
pub(crate) const FIXED_STAMP: &str = "9999";

/// The settings of a dialect; the default is the document's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Fields of an attendance row, 7 to 11.
    pub(crate) attlog_fields: usize,
    /// A missing work code is empty, not 0.
    pub(crate) empty_workcode: bool,
    /// The fields after the document's seven are empty, not 0.
    pub(crate) empty_extra: bool,
    /// The last field of an attendance row is a running index.
    pub(crate) running_index: bool,
    /// Fields 8, 9 and 10 are whether the person wore a mask, and their temperature in degrees
    /// Celsius and Fahrenheit.
    pub(crate) mask_temperature: bool,
    /// An attendance row ends with a TAB.
    pub(crate) tab_at_end: bool,
    /// The row of a user always ends with the keys of validity; otherwise only if they were given.
    pub(crate) user_validity: bool,
    /// Most bytes of a name in the row of a user, 0 for the whole name.
    pub(crate) name_bytes: usize,
    /// Attendance photos are sent to `/iclock/fdata`, not `/iclock/cdata` (§11.3 has both).
    pub(crate) photos_to_fdata: bool,
    /// All stamps are 9999.
    pub(crate) fixed_stamp: bool,
    /// The stamp of the operation log is called `OpStamp`.
    pub(crate) op_stamp: bool,
    /// The number of values of `INFO`: 0 (no `INFO`), 6, 10 or 13.
    pub(crate) info_values: usize,
    /// The suffix of each path, such as `.aspx`.
    pub(crate) suffix: String,
    /// `DeviceType` in the handshake; empty for none.
    pub(crate) device_type: String,
    /// `PushOptionsFlag=1` in the handshake.
    pub(crate) push_options_flag: bool,
    /// `language` is before `pushver` in the handshake.
    pub(crate) language_first: bool,
    /// The version in the handshake; empty for the real one.
    pub(crate) pushver: String,
    /// Send every reply to a command in a POST of its own.
    pub(crate) replies_alone: bool,
    /// Write the replies that have several lines in one, joined by `&`.
    pub(crate) one_line_replies: bool,
    /// Send the rows of the operation log as tgz when that is shorter (§11.14).
    pub(crate) packed: bool,
    /// Answer `VERIFY SUM` with `AttlogCount`, too, which the server of a vendor reads.
    pub(crate) attlog_count: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            attlog_fields: DOCUMENT_FIELDS,
            empty_workcode: false,
            empty_extra: false,
            running_index: false,
            mask_temperature: false,
            tab_at_end: false,
            user_validity: false,
            name_bytes: 0,
            photos_to_fdata: false,
            fixed_stamp: false,
            op_stamp: false,
            info_values: 10,
            suffix: String::new(),
            device_type: String::new(),
            push_options_flag: false,
            language_first: false,
            pushver: String::new(),
            replies_alone: false,
            one_line_replies: false,
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

    /// Where the rows of a table are sent, without the dialect's suffix.
    pub(crate) fn upload_path(&self, table: Table) -> &'static str {
        match table {
            Table::Attphoto if self.photos_to_fdata => "/iclock/fdata",
            _ => "/iclock/cdata",
        }
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
    /// `index` is the running index of the firmware. It must belong to the row, not to its place
    /// in a request: a row that is sent again has the same bytes.
    pub fn write_punch(&self, punch: &Punch, index: i64, out: &mut Vec<u8>) {
        match punch.workcode.as_str() {
            "0" if self.empty_workcode => punch.write_with("", out),
            workcode => punch.write_with(workcode, out),
        }
        for field in DOCUMENT_FIELDS + 1..=self.attlog_fields {
            out.push(b'\t');
            let screening = &punch.screening;
            match field {
                MASK if self.mask_temperature => write_number(screening.mask_code().into(), out),
                CELSIUS if self.mask_temperature => out.extend(screening.celsius().bytes()),
                FAHRENHEIT if self.mask_temperature => out.extend(screening.fahrenheit().bytes()),
                last if self.running_index && last == self.attlog_fields => {
                    write_number(index.unsigned_abs(), out);
                }
                _ if self.empty_extra => {}
                _ => out.push(b'0'),
            }
        }
        if self.tab_at_end {
            out.push(b'\t');
        }
    }

    /// Writes the row of a user (§11.5) without its line end.
    pub fn write_user(&self, user: &User, language: Language, out: &mut Vec<u8>) {
        if self.name_bytes > 0 {
            let name = text::clip(&user.name, self.name_bytes, language).to_owned();
            User { name, ..user.clone() }.write(out, language);
        } else {
            user.write(out, language);
        }
        if self.user_validity && user.validity == Validity::default() {
            out.extend_from_slice(Validity::ABSENT.as_bytes());
        }
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
    use crate::protocol::record::{Pin, Screening, Temperature, WorkCode};
    use crate::protocol::time::LocalTime;

    const VERSION: Version = Version(2, 4, 1);

    fn punch(workcode: &str) -> Punch {
        Punch {
            pin: Pin::new("1452").unwrap(),
            time: LocalTime::parse("2015-07-30 15:16:28").unwrap(),
            status: 0,
            verify: 1,
            workcode: WorkCode::new(workcode).unwrap(),
            screening: Screening::default(),
        }
    }

    fn row(dialect: &Dialect, punch: &Punch) -> String {
        let mut row = Vec::new();
        dialect.write_punch(punch, 17, &mut row);
        String::from_utf8(row).unwrap()
    }

    #[test]
    fn by_default_everything_is_as_in_the_document() {
        let document = Dialect::default();
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
        for (dialect, fields) in [
            (Dialect::default(), "0|0|0"),
            (Dialect { empty_workcode: true, ..Dialect::default() }, "|0|0"),
            (Dialect { attlog_fields: 8, ..Dialect::default() }, "0|0|0|0"),
            (Dialect { attlog_fields: 9, empty_extra: true, ..Dialect::default() }, "0|0|0||"),
            (Dialect { attlog_fields: 8, running_index: true, ..Dialect::default() }, "0|0|0|17"),
            (
                Dialect { attlog_fields: 11, running_index: true, ..Dialect::default() },
                "0|0|0|0|0|0|17",
            ),
            (
                Dialect {
                    attlog_fields: 11,
                    running_index: true,
                    empty_extra: true,
                    ..Dialect::default()
                },
                "0|0|0||||17",
            ),
            (
                Dialect { attlog_fields: 11, empty_workcode: true, ..Dialect::default() },
                "|0|0|0|0|0|0",
            ),
        ] {
            let row = row(&dialect, &punch(""));
            let workcode_on: Vec<&str> = row.split('\t').skip(4).collect();
            assert_eq!(workcode_on.join("|"), fields, "{dialect:?}");
        }
    }

    #[test]
    fn mask_and_temperature_have_the_three_fields_after_the_seventh() {
        let dialect = Dialect { attlog_fields: 10, mask_temperature: true, ..Dialect::default() };
        let indexed = Dialect {
            attlog_fields: 11,
            running_index: true,
            empty_extra: true,
            tab_at_end: true,
            ..dialect.clone()
        };
        let degrees = |degrees| Some(Temperature::new("temperature", degrees).unwrap());
        for (mask, temperature, fields) in [
            (None, None, "255\t0\t0"),
            (Some(true), None, "1\t0\t0"),
            (Some(false), degrees(36.5), "0\t36.5\t97.7"),
            (None, degrees(38.04), "255\t38.0\t100.4"),
        ] {
            let punch = Punch { screening: Screening { mask, temperature }, ..punch("") };
            let start = "1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0";
            assert_eq!(row(&dialect, &punch), format!("{start}\t{fields}"));
            assert_eq!(row(&indexed, &punch), format!("{start}\t{fields}\t17\t"));
            assert_eq!(row(&Dialect::default(), &punch), start);
        }
        let tab = Dialect { tab_at_end: true, ..Dialect::default() };
        assert_eq!(row(&tab, &punch("")), "1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0\t");
    }

    #[test]
    fn only_photos_change_their_path() {
        let fdata = Dialect { photos_to_fdata: true, ..Dialect::default() };
        for table in Table::ALL {
            let is_photo = table == Table::Attphoto;
            let path = if is_photo { "/iclock/fdata" } else { "/iclock/cdata" };
            assert_eq!(fdata.upload_path(table), path);
            assert_eq!(Dialect::default().upload_path(table), "/iclock/cdata");
        }
    }

    #[test]
    fn an_existing_work_code_is_always_written() {
        let dialect = Dialect { empty_workcode: true, ..Dialect::default() };
        let row = row(&dialect, &punch("W7"));
        assert_eq!(row, "1452\t2015-07-30 15:16:28\t0\t1\tW7\t0\t0");
    }

    #[test]
    fn info_has_as_many_values_as_are_set() {
        for (dialect, values) in [
            (Dialect { info_values: 0, ..Dialect::default() }, None),
            (Dialect { info_values: 6, ..Dialect::default() }, Some(6)),
            (Dialect { info_values: 13, ..Dialect::default() }, Some(13)),
        ] {
            let info = dialect.info(&DeviceInfo::default());
            assert_eq!(info.map(|info| info.split(',').count()), values, "{dialect:?}");
        }
    }

    #[test]
    fn only_the_operation_log_uses_op_stamp() {
        let own = Dialect { op_stamp: true, ..Dialect::default() };
        assert_eq!(own.stamp(Table::Operlog, 42), ("OpStamp", "42".into()));
        assert_eq!(own.stamp(Table::Attlog, 42), ("Stamp", "42".into()));
        let fixed = Dialect { fixed_stamp: true, ..Dialect::default() };
        assert_eq!(fixed.stamp(Table::Operlog, 42), ("Stamp", "9999".into()));
    }

    #[test]
    fn the_handshake_follows_the_settings() {
        for (dialect, key, rest) in [
            (Dialect::default(), "", "&pushver=2.4.1&language=69"),
            (
                Dialect { language_first: true, ..Dialect::default() },
                "k",
                "&language=69&pushver=2.4.1&pushcommkey=k",
            ),
            (
                Dialect { pushver: "2.32".into(), ..Dialect::default() },
                "",
                "&pushver=2.32&language=69",
            ),
            (
                Dialect { device_type: "a&b=c".into(), ..Dialect::default() },
                "",
                "&pushver=2.4.1&language=69&DeviceType=a%26b%3Dc",
            ),
            (
                Dialect {
                    push_options_flag: true,
                    device_type: "acc".into(),
                    ..Dialect::default()
                },
                "k",
                "&pushver=2.4.1&language=69&pushcommkey=k&DeviceType=acc&PushOptionsFlag=1",
            ),
        ] {
            let target = dialect.handshake("MADE01", Language::ENGLISH, VERSION, key);
            let whole = format!("/iclock/cdata?SN=MADE01&options=all{rest}");
            assert_eq!(target.as_str(), whole, "{dialect:?}");
        }
    }
}

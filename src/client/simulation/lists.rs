//! Random commands over a few people, cards, messages and files.

use super::random::Random;
use super::terminal::Terminal;

/// A picture begins and ends like this.
const JPEG: (&[u8], &[u8]) = (b"\xFF\xD8\xFF", b"\xFF\xD9");

/// Where commands come from.
pub(super) struct Lists<'a> {
    pub(super) random: &'a mut Random,
    pub(super) terminal: &'a Terminal,
    /// Nothing fails. Enrolments wait for a short time only, so they are not asked for otherwise.
    pub(super) is_smooth: bool,
}

impl Lists<'_> {
    fn below(&mut self, most: u64) -> u64 {
        self.random.below(most)
    }

    fn pin(&mut self) -> &'static str {
        ["1", "2", "3"][self.below(3) as usize]
    }

    fn word(&mut self) -> u64 {
        self.below(1_000_000)
    }

    /// A file among those of the owner.
    fn file(&mut self) -> String {
        let name = ["a", "b"][self.below(2) as usize];
        self.terminal.file(name).display().to_string()
    }

    /// What the server gives out; it fails some times before it comes.
    fn offer(&mut self, name: String, content: Vec<u8>) -> String {
        let failures = if self.is_smooth { 0 } else { self.below(3) };
        let mut server = self.terminal.server.borrow_mut();
        server.failures.insert(name.clone(), failures);
        server.files.insert(name.clone(), content);
        name
    }

    /// The next command.
    pub(super) fn command(&mut self) -> String {
        match self.below(26) {
            0..4 => format!("DATA UPDATE USERINFO {}", self.person()),
            4 => format!("DATA DELETE USERINFO PIN={}", self.pin()),
            5 | 6 => format!("DATA UPDATE FINGERTMP {}", self.finger()),
            7 => format!("DATA DELETE FINGERTMP PIN={}", self.pin()),
            8 | 9 => self.face(),
            10 => format!("DATA DELETE BIOPHOTO PIN={}", self.pin()),
            11 => format!(
                "DATA UPDATE SMS MSG=M{}\tTAG=253\tUID={}\tMIN=0\tStartTime=2026-01-01 00:00:00",
                self.word(),
                self.pin()
            ),
            12 => format!("DATA DELETE SMS UID={}", self.pin()),
            13 | 14 => self.query(),
            15 => self.append(),
            16 => {
                let content = format!("W{}", self.word()).into_bytes();
                let name = format!("file{}.bin", self.word());
                format!("PutFile {}\t{}", self.offer(name, content), self.file())
            }
            17 => format!("GetFile {}", self.file()),
            18 => format!("SHELL echo S{} > {}", self.word(), self.file()),
            19 => self.sync(),
            20 => format!("DATA UPDATE USERINFO {}\n{}", self.person(), self.person()),
            21 => format!("DATA UPDATE FINGERTMP {}\n{}", self.finger(), self.finger()),
            22 => format!("DATA UPDATE USER_SMS PIN={}\tUID={}", self.pin(), self.pin()),
            23 => "AC_UNLOCK".into(),
            24 if self.is_smooth => {
                let finger = self.below(2);
                format!("ENROLL_FP PIN={}\tFID={finger}\tRETRY=1\tOVERWRITE=1", self.pin())
            }
            _ => match self.below(8) {
                0 | 1 => "CLEAR DATA".into(),
                2 => "REBOOT".into(),
                _ => "CLEAR LOG".into(),
            },
        }
    }

    fn person(&mut self) -> String {
        let record = format!("PIN={}\tName=N{}", self.pin(), self.word());
        match self.below(3) {
            0 => format!("{record}\tCard={}", 100 + self.below(3)),
            _ => record,
        }
    }

    fn finger(&mut self) -> String {
        let data = ["QUJD", "REVG", "R0hJ"][self.below(3) as usize];
        format!("PIN={}\tFID={}\tSize=4\tValid=1\tTMP={data}", self.pin(), self.below(2))
    }

    fn face(&mut self) -> String {
        let word = self.word();
        let face = [JPEG.0, word.to_string().as_bytes(), JPEG.1].concat();
        let url = self.offer(format!("face{word}.jpg"), face);
        format!("DATA UPDATE BIOPHOTO PIN={}\tType=9\tFormat=1\tUrl={url}", self.pin())
    }

    fn query(&mut self) -> String {
        match self.below(5) {
            0 => "DATA QUERY USERINFO".into(),
            1 => format!("DATA QUERY FINGERTMP PIN={}", self.pin()),
            2 => format!("DATA QUERY BIOPHOTO PIN={}", self.pin()),
            3 => "DATA QUERY ATTLOG".into(),
            _ => format!("DATA QUERY USERINFO PIN={}", self.pin()),
        }
    }

    fn append(&mut self) -> String {
        let lines = format!(
            "DATA UPDATE USERINFO {}\nDATA UPDATE FINGERTMP {}\n",
            self.person(),
            self.finger()
        );
        let name = format!("lines{}.txt", self.word());
        format!("PutFile {}\tx\tAction=AppendData", self.offer(name, lines.into_bytes()))
    }

    fn sync(&mut self) -> String {
        let is_people = self.below(2) == 0;
        let count = 1 + self.below(3);
        let table = if is_people { "USERINFO" } else { "FINGERTMP" };
        let mut text = String::new();
        for _ in 0..count {
            let record = if is_people { self.person() } else { self.finger() };
            text += &format!("DATA UPDATE {table} {record}\n");
        }
        let name = format!("table{}.txt", self.word());
        let url = self.offer(name, text.into_bytes());
        format!("PutFile {url}\tx\tAction=SyncData\tTableName={table}\tRecordCount={count}")
    }
}

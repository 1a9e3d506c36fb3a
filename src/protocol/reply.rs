//! Replies to commands, `POST /iclock/devicecmd` (§13).

use super::codes::ReturnCode;

/// Most replies in one POST.
pub const MOST_IN_ONE_POST: usize = 100;

/// The result of a command, for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The id from the server.
    pub id: String,
    /// The name of the command in its reply.
    pub name: String,
    /// The result.
    pub code: ReturnCode,
    /// The text after the `&` form (`&key=value…`, or LF and content); for `GetFile` the name of
    /// the file, for `Shell` the output.
    pub rest: Vec<u8>,
    /// The file whose content is sent with the reply.
    pub file: Option<String>,
}

impl Reply {
    /// Whether the reply needs a POST of its own: servers take all text after its first line as
    /// content.
    pub fn goes_alone(&self) -> bool {
        self.rest.contains(&b'\n') || matches!(&*self.name, "GetFile" | "PutFile" | "Shell")
    }

    /// Appends the reply, with LF before it if it is not the first. The content of a file must
    /// follow. `one_line`: the replies that have several lines in the document have one line,
    /// joined by `&`, up to their content.
    pub fn write(&self, serial: &str, one_line: bool, out: &mut Vec<u8>) {
        let Self { id, name, code, rest, file } = self;
        let and = if one_line { '&' } else { '\n' };
        if !out.is_empty() {
            out.push(b'\n');
        }
        match name.as_str() {
            "GetFile" => {
                let head = format!("ID={id}{and}SN={serial}{and}FILENAME=");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(rest);
                let tail = format!("{and}CMD=GetFile{and}Return={code}");
                out.extend_from_slice(tail.as_bytes());
                if file.is_some() {
                    out.extend_from_slice(format!("{and}Content=").as_bytes());
                }
            }
            "Shell" => {
                let head = format!(
                    "ID={id}{and}SN={serial}{and}Return={code}{and}CMD=Shell{and}\
                     FILENAME=shellout.txt{and}Content="
                );
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(rest);
            }
            "PutFile" => {
                let lines = format!("ID={id}{and}Return={code}{and}CMD=PutFile");
                out.extend_from_slice(lines.as_bytes());
            }
            _ => {
                out.extend_from_slice(format!("ID={id}&Return={code}&CMD={name}").as_bytes());
                out.extend_from_slice(rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_batched_as_in_the_document() {
        let reply = |id: &str| Reply {
            id: id.into(),
            name: "DATA".into(),
            code: ReturnCode::DONE,
            rest: vec![],
            file: None,
        };
        let mut body = Vec::new();
        reply("info8487").write("S", false, &mut body);
        reply("fp7464").write("S", true, &mut body);
        assert_eq!(body, b"ID=info8487&Return=0&CMD=DATA\nID=fp7464&Return=0&CMD=DATA");
    }

    #[test]
    fn replies_with_files_and_output_have_several_lines() {
        for (name, code, file, expected) in [
            ("GetFile", 4, Some("/a"), "ID=7\nSN=S\nFILENAME=x\nCMD=GetFile\nReturn=4\nContent="),
            ("GetFile", -2, None, "ID=7\nSN=S\nFILENAME=x\nCMD=GetFile\nReturn=-2"),
            ("Shell", 1, None, "ID=7\nSN=S\nReturn=1\nCMD=Shell\nFILENAME=shellout.txt\nContent=x"),
            ("PutFile", 9, None, "ID=7\nReturn=9\nCMD=PutFile"),
        ] {
            let reply = Reply {
                id: "7".into(),
                name: name.into(),
                code: ReturnCode(code),
                rest: b"x".to_vec(),
                file: file.map(str::to_owned),
            };
            for (one_line, expected) in
                [(false, expected.to_owned()), (true, expected.replace('\n', "&"))]
            {
                let mut body = Vec::new();
                reply.write("S", one_line, &mut body);
                assert_eq!(String::from_utf8(body).unwrap(), expected);
            }
            assert!(reply.goes_alone());
        }
    }
}

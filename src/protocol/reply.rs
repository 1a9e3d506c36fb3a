//! Replies to commands, `POST /iclock/devicecmd` (§13).

use super::codes::ReturnCode;

/// Most replies that go in one POST.
pub const MOST_IN_ONE_POST: usize = 100;

/// The result of a command, as it waits for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The id that the server gave.
    pub id: String,
    /// How the command is named in its reply.
    pub name: String,
    /// How it ended.
    pub code: ReturnCode,
    /// What follows the `&` form: `&key=value…`, or LF and content.
    pub rest: Vec<u8>,
}

impl Reply {
    /// Whether the reply must have a POST of its own: servers take everything after its
    /// first line as content.
    pub fn goes_alone(&self) -> bool {
        self.rest.contains(&b'\n')
    }

    /// Writes the reply; replies that share a POST are separated by LF.
    pub fn write(&self, out: &mut Vec<u8>) {
        if !out.is_empty() {
            out.push(b'\n');
        }
        out.extend_from_slice(
            format!("ID={}&Return={}&CMD={}", self.id, self.code, self.name).as_bytes(),
        );
        out.extend_from_slice(&self.rest);
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
        };
        let mut body = Vec::new();
        reply("info8487").write(&mut body);
        reply("fp7464").write(&mut body);
        assert_eq!(body, b"ID=info8487&Return=0&CMD=DATA\nID=fp7464&Return=0&CMD=DATA");
    }
}

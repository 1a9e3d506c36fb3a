//! A terminal of a few lines and the strict server: a handshake, a punch, and what was wrong with it.
//!
//! ```sh
//! cargo run -p iclock-emulator --example first_punch
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use iclock_emulator::{Emulator, Settings};

fn main() -> io::Result<()> {
    let server = Emulator::start(Settings::default())?;
    println!("the server is at {}", server.url());

    let handshake = "GET /iclock/cdata?SN=TEST0001&options=all&pushver=2.4.1&language=69";
    println!("{}", ask(server.address(), handshake, "")?);

    // The second time has no seconds, which the document wants.
    for (stamp, time) in [(1, "2026-11-27 08:00:01"), (2, "2026-11-27 08:01")] {
        let row = format!("1001\t{time}\t0\t1\t0\t0\t0\n");
        let upload = format!("POST /iclock/cdata?SN=TEST0001&table=ATTLOG&Stamp={stamp}");
        println!("a punch at {time}: {}", ask(server.address(), &upload, &row)?);
    }

    for punch in server.attlog() {
        println!("the server has a punch of {} at {}", punch.record.pin, punch.record.time);
    }
    for deviation in server.deviations() {
        println!("wrong: {deviation}");
    }
    Ok(())
}

/// Sends one request, and gives back the body of the answer.
fn ask(server: SocketAddr, line: &str, body: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(server)?;
    let length = body.len();
    let fields = format!("Host: {server}\r\nContent-Length: {length}\r\nConnection: close");
    write!(socket, "{line} HTTP/1.1\r\n{fields}\r\n\r\n{body}")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.trim().to_owned()))
}

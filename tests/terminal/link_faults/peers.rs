//! What stands at the other end of the link: sockets that know no more than their fault.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use crate::harness::{Openssl, RawAnswer, RawServer};

/// A link with a fault in it: where the terminal is to go, and what has to live meanwhile.
pub struct Link {
    pub url: String,
    /// Lines of the configuration.
    pub more: String,
    /// Host and port that the messages name: those of the server, or of the proxy.
    pub address: String,
    /// The terminal has a network without a link.
    pub has_no_network: bool,
    /// A punch is recorded when the handshake is over.
    pub has_punch: bool,
    pub kept: Vec<Box<dyn std::any::Any>>,
}

impl Link {
    /// A link to this URL.
    pub fn to(url: impl Into<String>) -> Self {
        let url = url.into();
        let address = url.split("://").nth(1).unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default().to_owned();
        let (more, kept) = (String::new(), Vec::new());
        Self { url, more, address, has_no_network: false, has_punch: false, kept }
    }

    /// The same with further lines of configuration.
    #[must_use]
    pub fn with(self, more: impl Into<String>) -> Self {
        Self { more: more.into(), ..self }
    }

    /// The same by this proxy.
    #[must_use]
    pub fn by_proxy(self, user: &str, proxy: &str) -> Self {
        let more = format!("{}[proxy]\nurl = \"http://{user}{proxy}\"\n", self.more);
        Self { more, address: proxy.to_owned(), ..self }
    }

    /// The same, and a punch waits to go up.
    #[must_use]
    pub fn with_punch(self) -> Self {
        Self { has_punch: true, ..self }
    }

    /// The same; this lives as long as it.
    #[must_use]
    pub fn keep(mut self, what: impl std::any::Any) -> Self {
        self.kept.push(Box::new(what));
        self
    }
}

/// `[timeouts]` for links on which nothing comes.
pub const SHORT: &str = "[timeouts]\nretry = 1\nconnect = 2\nanswer = 2\n";

/// An address at which nothing listens, and nothing else can begin to.
pub fn nothing_listens() -> (String, OwnedFd) {
    let reserved = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&reserved, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddr::try_from(getsockname(&reserved).unwrap()).unwrap();
    (address.to_string(), reserved)
}

/// A peer that does this with each connection; its address.
pub fn peer(act: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let act = std::sync::Arc::new(act);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let act = std::sync::Arc::clone(&act);
            std::thread::spawn(move || act(stream));
        }
    });
    address
}

/// Reads until the other side closes.
pub fn wait_for_end(stream: TcpStream) {
    let _ = std::io::copy(&mut &stream, &mut std::io::sink());
}

/// The connection is reset.
pub fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
}

/// Waits for the first bytes that the other side sends, and leaves them unread.
pub fn wait_for_bytes(stream: &TcpStream) {
    let _ = stream.peek(&mut [0]);
}

/// Reads the head of a request.
pub fn read_head(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        line.clear();
    }
}

/// A peer that reads the head of a request, says this and closes.
pub fn saying(bytes: &'static [u8]) -> String {
    peer(move |mut stream| {
        read_head(&stream);
        let _ = stream.write_all(bytes);
    })
}

/// A peer that reads the head of a request, says this, and waits until the other side closes.
pub fn saying_and_waiting(bytes: &'static [u8]) -> String {
    peer(move |mut stream| {
        read_head(&stream);
        let _ = stream.write_all(bytes);
        wait_for_end(stream);
    })
}

/// A peer that says this to the first bytes, whatever they are, and closes when the other side does.
pub fn saying_at_once(bytes: &'static [u8]) -> String {
    peer(move |mut stream| {
        wait_for_bytes(&stream);
        let _ = stream.write_all(bytes);
        wait_for_end(stream);
    })
}

/// A server that answers the handshake so.
pub fn answering(answer: RawAnswer) -> Link {
    let server = RawServer::start(move |_| answer.clone());
    Link::to(server.url()).keep(server)
}

/// Certificates and keys for all faults, made once.
pub struct Certificates(pub Openssl);

impl Certificates {
    pub fn make() -> Self {
        const FOR_ADDRESS: &str = "-subj /CN=server -addext subjectAltName=IP:127.0.0.1";
        let files = Openssl::new();
        files.self_signed("own", FOR_ADDRESS);
        files.self_signed("other", FOR_ADDRESS);
        files.self_signed("named", "-subj /CN=named -addext subjectAltName=DNS:other.example");
        for name in ["authority", "root", "clients", "strangers"] {
            files.self_signed(name, &format!("-subj /CN={name}"));
        }
        files.self_signed("anew", "-subj /CN=authority");
        files.issued("intermediate", "root", "basicConstraints=critical,CA:TRUE");
        let by_address = "subjectAltName=IP:127.0.0.1";
        files.issued("good", "authority", by_address);
        files.issued("nameless", "authority", "basicConstraints=CA:FALSE");
        files.issued("misnamed", "authority", "subjectAltName=DNS:other.example,IP:10.0.0.1");
        files.issued("client", "authority", &format!("{by_address}\nextendedKeyUsage=clientAuth"));
        let of_authority = format!("{by_address}\nbasicConstraints=critical,CA:TRUE");
        files.issued("sub", "authority", &of_authority);
        files.issued("leaf", "intermediate", by_address);
        files.issued("stranger", "strangers", "extendedKeyUsage=clientAuth");
        files.self_signed("rsa", &format!("-newkey rsa:2048 {FOR_ADDRESS}"));
        files.self_signed("short", &format!("-newkey rsa:1024 {FOR_ADDRESS}"));
        // Without extensions such a certificate is of version 1.
        files.run("req -new -key own.key -out old.csr -subj /CN=server");
        files.run("x509 -req -in old.csr -signkey own.key -days 30 -out old.pem");
        std::fs::copy(files.path("own.key"), files.path("old.key")).unwrap();
        std::fs::write(files.path("empty.pem"), "").unwrap();
        Self(files)
    }

    /// A file of these, as a value of the configuration.
    pub fn file(&self, name: &str) -> String {
        format!("\"{}\"", self.0.path(name).display())
    }

    /// `[tls]` that trusts the certificates of this file.
    pub fn trusting(&self, name: &str) -> String {
        format!("[tls]\nca = {}\n", self.file(&format!("{name}.pem")))
    }

    /// A server of `openssl` with this certificate, for a terminal that trusts another.
    pub fn served(&self, name: &str, options: &str, trusted: &str) -> Link {
        let server = self.0.serve(name, options);
        Link::to(server.url()).with(self.trusting(trusted)).keep(server)
    }
}

//! Certificates and servers by the program `openssl`: what owners of servers make and run, and an
//! opinion on keys and signatures that shares no code with punchd.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What begins a certificate with a key of its own. RSA takes a second, this does not.
pub const NEW_EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A directory for certificates and keys: NAME.pem and NAME.key.
pub struct Openssl {
    directory: PathBuf,
}

impl Openssl {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punchd-openssl-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Runs it in the directory; arguments are separated by blanks.
    pub fn run(&self, arguments: &str) -> Vec<u8> {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        let output = output.expect("openssl is installed: scripts/setup does it");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {error}");
        output.stdout
    }

    /// A certificate that is signed by its own key.
    pub fn self_signed(&self, name: &str, more: &str) {
        let key = if more.contains("-newkey") { "-nodes" } else { NEW_EC };
        self.run(&format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 30 {more}"));
    }

    /// A certificate that another one signed, with these extensions.
    pub fn issued(&self, name: &str, by: &str, extensions: &str) {
        fs::write(self.path("extensions"), extensions).unwrap();
        self.run(&format!("req -new {NEW_EC} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 30 \
             -extfile extensions -out {name}.pem"
        ));
    }

    /// The pin of a certificate's key, as the documentation says how to make it.
    pub fn pin(&self, name: &str) -> String {
        let key = self.run(&format!("x509 -in {name}.pem -noout -pubkey"));
        fs::write(self.path("public"), key).unwrap();
        self.run("pkey -pubin -in public -outform der -out public.der");
        let sum = self.run("dgst -sha256 -binary public.der");
        format!("sha256/{}", super::base64(&sum))
    }

    /// A server with this certificate, which answers every GET with a page.
    pub fn serve(&self, name: &str, more: &str) -> OpensslServer {
        let arguments =
            format!("s_server -accept 127.0.0.1:0 -www -cert {name}.pem -key {name}.key {more}");
        let mut command = self.command(&arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()));
        let url = format!("https://{}", address.expect("s_server listens"));
        // What it prints from now on is read, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        OpensslServer { url, child }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.directory);
        command
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.directory));
    }
}

/// A server that ends with its test.
pub struct OpensslServer {
    url: String,
    child: Child,
}

impl OpensslServer {
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

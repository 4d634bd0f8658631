//! The serial console: kept, stamped, shown, waited for and typed into.
//!
//! A thread reads it as long as the machine runs. Every byte goes to
//! `console.log`; every line, without control sequences, goes to
//! `console.times` behind the seconds since power-on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::escape::{Parser, Piece, Screen};

/// How many of the last lines an error shows.
const TAIL: usize = 40;

/// One line as the console showed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// When its first character came, counted from power-on by the host's clock.
    pub at: Duration,
    /// Its text without control sequences.
    pub text: String,
}

/// A place in the console's output: what comes after it is new.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Mark {
    line: usize,
    column: usize,
}

/// Where the console is shown while it runs.
pub type Display = Box<dyn Write + Send>;

/// The console of a running machine.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    input: Mutex<UnixStream>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    text: Mutex<Text>,
    changed: Condvar,
}

impl Console {
    /// Starts to read the machine's end of `stream`. Logs go into `folder`, at
    /// the end of those of earlier boots.
    pub(crate) fn start(
        stream: UnixStream,
        folder: &Path,
        power_on: Instant,
        display: Option<Display>,
    ) -> Result<Self> {
        let mut logs = Logs::open(folder, display)?;
        let broke = |source| Error::Channel { channel: "console", source };
        let mut output = stream.try_clone().map_err(broke)?;
        let shared = Arc::new(Shared { text: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // QEMU's death resets the connection; that is an end like any other.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let mut text = theirs.lock();
                let before = text.lines.len();
                text.add(&bytes[..count], power_on.elapsed());
                logs.write(&bytes[..count], &text.lines[before..]);
                theirs.changed.notify_all();
            }
            let mut text = theirs.lock();
            text.end_line();
            text.closed = true;
            logs.end(&text);
            theirs.changed.notify_all();
        });
        Ok(Self { shared, input: Mutex::new(stream), reader: Some(reader) })
    }

    /// The place after all that has come so far.
    pub fn mark(&self) -> Mark {
        self.shared.lock().mark()
    }

    /// All whole lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.lock().lines.clone()
    }

    /// The last lines, as errors show them.
    pub fn tail(&self) -> String {
        self.shared.lock().tail()
    }

    /// Whether the machine has closed it, which is to say, has stopped.
    pub fn closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Waits until one of `wanted` stands on a line after `from`, and returns
    /// that line as far as it has come. A prompt needs no line end.
    pub fn wait_for(&self, wanted: &[&str], from: Mark, limit: Duration) -> Result<Line> {
        let deadline = Deadline::after(limit);
        let mut text = self.shared.lock();
        loop {
            if let Some(line) = text.find(wanted, from) {
                return Ok(line);
            }
            let what = || format!("`{}` on the console", wanted.join("` or `"));
            if text.closed {
                return Err(Error::Stopped { what: what(), console: text.tail() });
            }
            if deadline.passed() {
                return Err(Error::TimedOut { what: what(), limit, console: text.tail() });
            }
            let woken = self.shared.changed.wait_timeout(text, deadline.left());
            text = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Types `keys` into it.
    pub fn type_in(&self, keys: &str) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input
            .write_all(keys.as_bytes())
            .map_err(|source| Error::Channel { channel: "console", source })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        // Ends the reader even while QEMU still runs.
        let _ = input.shutdown(std::net::Shutdown::Both);
        drop(input);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The console's output as lines.
#[derive(Debug, Default)]
struct Text {
    parser: Parser,
    lines: Vec<Line>,
    partial: Vec<u8>,
    partial_at: Duration,
    closed: bool,
}

impl Text {
    fn add(&mut self, bytes: &[u8], at: Duration) {
        let mut parser = std::mem::take(&mut self.parser);
        parser.feed(bytes, |piece| match piece {
            Piece::Byte(byte) => {
                if self.partial.is_empty() {
                    self.partial_at = at;
                }
                self.partial.push(byte);
            }
            Piece::LineEnd | Piece::Moved => self.end_line(),
            Piece::Colour(_) => {}
        });
        self.parser = parser;
    }

    /// Ends the open line. Empty ones are not kept: firmware draws with them.
    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if !text.is_empty() {
            self.lines.push(Line { at: self.partial_at, text });
        }
    }

    fn mark(&self) -> Mark {
        Mark { line: self.lines.len(), column: self.partial.len() }
    }

    fn open_line(&self) -> Line {
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        Line { at: self.partial_at, text }
    }

    fn find(&self, wanted: &[&str], from: Mark) -> Option<Line> {
        let first = self.lines.get(from.line..).unwrap_or_default();
        let open = self.open_line();
        first.iter().chain([&open]).enumerate().find_map(|(index, line)| {
            // Only the line that was open at the mark has an old part.
            let old = if index == 0 { from.column } else { 0 };
            let new = line.text.as_bytes().get(old..).unwrap_or_default();
            let new = String::from_utf8_lossy(new);
            wanted.iter().any(|one| new.contains(one)).then(|| line.clone())
        })
    }

    fn tail(&self) -> String {
        let open = self.open_line();
        let skip = (self.lines.len() + 1).saturating_sub(TAIL);
        let mut tail = String::from("the console's last lines:");
        for line in self.lines.iter().chain([&open]).skip(skip).filter(|l| !l.text.is_empty()) {
            tail.push_str(&format!("\n  [{:8.3}] {}", line.at.as_secs_f64(), line.text));
        }
        tail
    }
}

/// The files and the display that the reader thread writes.
struct Logs {
    raw: File,
    times: File,
    display: Option<(Display, Screen)>,
}

impl Logs {
    fn open(folder: &Path, display: Option<Display>) -> Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::options().create(true).append(true).open(&path).map_err(Error::file("open", path))
        };
        let display = display.map(|display| (display, Screen::default()));
        let mut logs = Self { raw: open("console.log")?, times: open("console.times")?, display };
        let _ = writeln!(logs.times, "--- power on");
        Ok(logs)
    }

    /// Logs never stop the machine: a full disk shows in what the test misses.
    fn write(&mut self, bytes: &[u8], lines: &[Line]) {
        let _ = self.raw.write_all(bytes);
        for line in lines {
            let _ = writeln!(self.times, "[{:8.3}] {}", line.at.as_secs_f64(), line.text);
        }
        if let Some((display, screen)) = &mut self.display {
            let shown = display.write_all(&screen.filter(bytes)).and_then(|()| display.flush());
            if shown.is_err() {
                self.display = None;
            }
        }
    }

    fn end(&mut self, text: &Text) {
        let _ = writeln!(self.times, "--- power off after {} lines", text.lines.len());
        if let Some((display, screen)) = &mut self.display {
            let _ = display.write_all(screen.end()).and_then(|()| display.flush());
        }
    }
}

/// A display that can be switched off for good while the machine runs on.
#[derive(Clone, Debug, Default)]
pub struct Switch {
    off: Arc<std::sync::atomic::AtomicBool>,
}

impl Switch {
    /// Nothing more is shown after this.
    pub fn off(&self) {
        self.off.store(true, std::sync::atomic::Ordering::Release);
    }

    /// `display`, as long as the switch is on.
    pub fn guard(&self, display: impl Write + Send + 'static) -> Display {
        Box::new(Switched { switch: self.clone(), display })
    }
}

struct Switched<W> {
    switch: Switch,
    display: W,
}

impl<W: Write> Write for Switched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.switch.off.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(bytes.len());
        }
        self.display.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.display.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        guest: UnixStream,
        console: Console,
        folder: tempfile::TempDir,
    }

    fn bench() -> Bench {
        let (guest, ours) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let console = Console::start(ours, folder.path(), Instant::now(), None).unwrap();
        Bench { guest, console, folder }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_line_is_found_though_it_comes_in_pieces_and_colours() {
        let mut bench = bench();
        bench.guest.write_all(b"\x1b[2Jfirst\r\nBoot\x1b[32med from").unwrap();
        bench.guest.write_all(b"\x1b[0m disk A\r\n").unwrap();
        let line = bench.console.wait_for(&["from disk"], Mark::default(), LONG).unwrap();
        assert!(line.text.starts_with("Booted from disk"), "{line:?}");
    }

    #[test]
    fn a_prompt_needs_no_line_end_and_what_was_before_a_mark_is_old() {
        let mut bench = bench();
        bench.guest.write_all(b"node1 login: ").unwrap();
        bench.console.wait_for(&["login:"], Mark::default(), LONG).unwrap();
        let mark = bench.console.mark();
        bench.console.type_in("core\n").unwrap();
        let mut typed = [0; 5];
        bench.guest.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"core\n");
        let error = bench.console.wait_for(&["login:"], mark, Duration::ZERO).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        bench.guest.write_all(b"core\r\nLogin incorrect\r\nnode1 login: ").unwrap();
        let line = bench.console.wait_for(&["incorrect", "denied"], mark, LONG).unwrap();
        assert_eq!(line.text, "Login incorrect");
        bench.console.wait_for(&["login:"], mark, LONG).unwrap();
    }

    #[test]
    fn the_end_of_the_machine_ends_the_waiting_and_the_error_shows_the_last_lines() {
        let mut bench = bench();
        for number in 0..100 {
            bench.guest.write_all(format!("line {number}\r\n").as_bytes()).unwrap();
        }
        bench.guest.write_all(b"Kernel panic").unwrap();
        drop(bench.guest);
        let error = bench.console.wait_for(&["login:"], Mark::default(), LONG).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the machine stopped before `login:` on the console"), "{text}");
        assert!(text.contains("] line 99\n") && text.ends_with("] Kernel panic"), "{text}");
        assert!(!text.contains("] line 59\n"), "{text}");
        assert!(bench.console.closed());
    }

    #[test]
    fn all_bytes_are_kept_and_lines_are_stamped() {
        let mut bench = bench();
        bench.guest.write_all(b"\x1b[31mred\x1b[0m\r\n\r\nopen").unwrap();
        drop(bench.guest);
        drop(bench.console);
        let read = |name| std::fs::read_to_string(bench.folder.path().join(name)).unwrap();
        assert_eq!(read("console.log"), "\x1b[31mred\x1b[0m\r\n\r\nopen");
        let times = read("console.times");
        let lines: Vec<&str> = times.lines().collect();
        assert!(lines[1].starts_with('[') && lines[1].ends_with("] red"), "{times}");
        assert_eq!(lines.last(), Some(&"--- power off after 2 lines"), "{times}");
    }

    #[test]
    fn a_switched_off_display_shows_nothing_more() {
        #[derive(Clone, Default)]
        struct Page(Arc<Mutex<Vec<u8>>>);
        impl Write for Page {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (page, switch) = (Page::default(), Switch::default());
        let mut display = switch.guard(page.clone());
        display.write_all(b"on").unwrap();
        switch.off();
        display.write_all(b"off").unwrap();
        assert_eq!(*page.0.lock().unwrap(), b"on");
    }
}

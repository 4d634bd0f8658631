//! What a build shows of itself while it runs.
//!
//! A bar per stage for a person at a terminal, a line per stage for a log,
//! an object per line for a machine. Stages may run at the same time.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Where to and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars on standard error, redrawn in place.
    Bars,
    /// A line on standard error as a stage ends.
    Lines,
    /// JSON objects on standard output, one a line.
    Json,
}

/// Time between two drawings of the bars.
const TICK: Duration = Duration::from_millis(100);
/// Characters of a bar between its brackets.
const BAR: usize = 24;
/// Characters of the longest name of a stage.
const NAME: usize = 9;

/// Shows the stages of one build.
#[derive(Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    /// Redraws the bars; only there if there are bars.
    painter: Option<JoinHandle<()>>,
    style: Style,
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    end: Condvar,
}

#[derive(Debug, Default)]
struct Board {
    live: Vec<Live>,
    /// Lines on the terminal that belong to live stages.
    drawn: usize,
    next: u64,
    ended: bool,
}

#[derive(Debug)]
struct Live {
    id: u64,
    name: &'static str,
    begin: Instant,
    detail: String,
    done: u64,
    total: u64,
}

/// A stage that has begun. It has failed if it is dropped unfinished.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a Progress,
    id: u64,
    finished: bool,
}

/// An event as a machine reads it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A stage begins.
    Start {
        /// Its name.
        stage: &'a str,
    },
    /// A stage is over.
    End {
        /// Its name.
        stage: &'a str,
        /// Whether it did what it should.
        ok: bool,
        /// How long it took.
        seconds: f64,
        /// What it did.
        detail: &'a str,
    },
    /// Something worth knowing that is no error.
    Note {
        /// It.
        message: &'a str,
    },
    /// All is done.
    Result {
        /// What was made.
        #[serde(flatten)]
        outcome: &'a serde_json::Value,
    },
    /// All is over.
    Error {
        /// What failed.
        message: &'a str,
        /// Why, the nearest cause first.
        caused_by: Vec<String>,
    },
}

impl Event<'_> {
    /// Prints the event as one line of JSON. A closed standard output is
    /// none of the build's business.
    pub fn print(&self) {
        let mut line = serde_json::to_vec(self).expect("maps with string keys");
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

impl Progress {
    /// Begins to show.
    pub fn new(style: Style) -> Progress {
        let shared = Arc::new(Shared::default());
        let painter = (style == Style::Bars).then(|| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || paint(&shared))
        });
        Progress { shared, painter, style }
    }

    /// A stage begins.
    pub fn stage(&self, name: &'static str) -> Stage<'_> {
        let mut board = self.shared.lock();
        let id = board.next;
        board.next += 1;
        let (begin, detail) = (Instant::now(), String::new());
        board.live.push(Live { id, name, begin, detail, done: 0, total: 0 });
        drop(board);
        if self.style == Style::Json {
            Event::Start { stage: name }.print();
        }
        Stage { progress: self, id, finished: false }
    }

    /// Says something that belongs to no stage.
    pub fn note(&self, message: &str) {
        match self.style {
            Style::Json => Event::Note { message }.print(),
            Style::Bars | Style::Lines => self.shared.lock().print(message),
        }
    }

    fn finish(&self, id: u64, detail: &str, ok: bool) {
        let mut board = self.shared.lock();
        let Some(index) = board.live.iter().position(|stage| stage.id == id) else { return };
        let stage = board.live.remove(index);
        let elapsed = stage.begin.elapsed();
        let name = stage.name;
        match self.style {
            Style::Json => {
                let seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
                Event::End { stage: name, ok, seconds, detail }.print();
            }
            Style::Lines => {
                board.print(&format!("{name}: {detail} ({:.1} s)", elapsed.as_secs_f64()));
            }
            Style::Bars => {
                let line = format!("  {name:NAME$} {detail:<56} {:>6.1} s", elapsed.as_secs_f64());
                board.print(&line);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.end.notify_all();
        if let Some(painter) = self.painter.take() {
            // It cannot panic; if it did, that was shown already.
            let _ = painter.join();
        }
    }
}

impl Stage<'_> {
    /// How much there is to do, in bytes.
    pub fn expect(&self, bytes: u64) {
        self.update(|stage| stage.total = bytes);
    }

    /// Some more bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.update(|stage| stage.done += bytes);
    }

    /// What it is at.
    pub fn detail(&self, text: &str) {
        self.update(|stage| text.clone_into(&mut stage.detail));
    }

    /// The stage is over, and did `what`.
    pub fn finish(mut self, what: &str) {
        self.finished = true;
        self.progress.finish(self.id, what, true);
    }

    fn update(&self, change: impl FnOnce(&mut Live)) {
        let mut board = self.progress.shared.lock();
        if let Some(stage) = board.live.iter_mut().find(|stage| stage.id == self.id) {
            change(stage);
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.progress.finish(self.id, "failed", false);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn paint(shared: &Shared) {
    let mut board = shared.lock();
    loop {
        board.draw();
        if board.ended {
            return;
        }
        let waited = shared.end.wait_timeout(board, TICK);
        board = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Board {
    /// Prints a line above the bars.
    fn print(&mut self, line: &str) {
        let text = format!("{}{line}\n", self.erase());
        self.drawn = 0;
        write_out(&text);
    }

    fn draw(&mut self) {
        let mut text = self.erase();
        for stage in &self.live {
            text.push_str(&stage.bar(stage.begin.elapsed()));
            text.push('\n');
        }
        self.drawn = self.live.len();
        write_out(&text);
    }

    /// The control sequence that takes the bars away.
    fn erase(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

fn write_out(text: &str) {
    // Nobody can be told if standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl Live {
    fn bar(&self, elapsed: Duration) -> String {
        let (filled, right) = if self.total == 0 {
            // Nobody knows how far it is: something moves.
            let at = (elapsed.as_millis() / TICK.as_millis()) as usize % BAR;
            (format!("{:at$}={:rest$}", "", "", rest = BAR - at - 1), self.detail.clone())
        } else {
            let done = self.done.min(self.total);
            let full = (u128::from(done) * BAR as u128 / u128::from(self.total)) as usize;
            let right = format!("{} of {}", Size(done), Size(self.total));
            (format!("{:=<full$}{:rest$}", "", "", rest = BAR - full), right)
        };
        let right: String = right.chars().take(29).collect();
        format!("  {:NAME$} [{filled}] {right:29} {:>6.1} s", self.name, elapsed.as_secs_f64())
    }
}

/// A number of bytes as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0 as f64, "bytes");
        for larger in ["kB", "MB", "GB", "TB"] {
            if value < 1000.0 {
                break;
            }
            (value, unit) = (value / 1000.0, larger);
        }
        let digits = usize::from(value < 10.0 && unit != "bytes");
        write!(formatter, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_least_two_digits_that_mean_something() {
        for (bytes, want) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (15_300, "15 kB"),
            (682_350_080, "682 MB"),
            (1 << 30, "1.1 GB"),
        ] {
            assert_eq!(Size(bytes).to_string(), want);
        }
    }

    #[test]
    fn a_bar_shows_how_far_its_stage_is() {
        let begin = Instant::now();
        let detail = "unpacking".to_owned();
        let mut stage = Live { id: 0, name: "erofs", begin, detail, done: 0, total: 0 };
        let bar = stage.bar(Duration::from_millis(350));
        assert!(bar.contains("[   =                    ] unpacking "), "{bar}");
        (stage.done, stage.total) = (500_000_000, 1_000_000_000);
        let half = stage.bar(Duration::from_secs(2));
        assert!(half.contains("[============            ] 500 MB of 1.0 GB "), "{half}");
        (stage.done, stage.total) = (7, 5);
        let over = stage.bar(Duration::from_secs(2));
        assert!(over.contains("[========================]"), "{over}");
        for line in [bar, half, over] {
            assert_eq!(line.chars().count(), 77, "{line}");
        }
    }

    #[test]
    fn stages_end_in_any_order_and_leave_the_board() {
        let progress = Progress::new(Style::Lines);
        let first = progress.stage("one");
        let second = progress.stage("two");
        first.expect(10);
        first.advance(4);
        second.detail("at it");
        first.finish("done");
        drop(second);
        assert!(progress.shared.lock().live.is_empty());
    }

    #[test]
    fn events_are_one_flat_object() {
        let end = Event::End { stage: "erofs", ok: true, seconds: 1.25, detail: "done" };
        assert_eq!(
            serde_json::to_string(&end).expect("serializes"),
            r#"{"event":"end","stage":"erofs","ok":true,"seconds":1.25,"detail":"done"}"#
        );
        let outcome = &serde_json::json!({ "root_hash": "ab" });
        assert_eq!(
            serde_json::to_string(&Event::Result { outcome }).expect("serializes"),
            r#"{"event":"result","root_hash":"ab"}"#
        );
    }
}

//! The flags.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Measure how fast and how small `renew` is

Usage: cargo bench -p perennial-tests --bench renew -- [OPTIONS]

Options:
  --quick         Small and once only, to see that it works; its figures mean nothing
  --full          Also with 10 million subscriptions: 25 GB on disk, minutes to load
  --only PARTS    Some of ways,batches,scale,idle,memory; default all
  --match TEXT    Only ways whose name has this text in it, for profiling
  --ground DB     Compare ways on copies of this database instead, to try a change of the schema on a loaded one
  --rounds N      Runs of everything that is measured; the median counts [default: 3]
  --keep DIR      Start a durable server in this folder, and leave it and its loaded databases for the next time
  -h, --help      Print this text

Environment:
  DATABASE_URL    The server to use (a superuser's); without it and --keep a durable one is started for this run";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `renew` against the audited way and against one bulk statement.
    Ways,
    /// Batch sizes and workers.
    Batches,
    /// A due row's cost over the number of subscriptions.
    Scale,
    /// The program when nothing is due.
    Idle,
    /// The program's memory over the number of due rows.
    Memory,
}

const PARTS: [(&str, Part); 5] = [
    ("ways", Part::Ways),
    ("batches", Part::Batches),
    ("scale", Part::Scale),
    ("idle", Part::Idle),
    ("memory", Part::Memory),
];

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) full: bool,
    pub(crate) keep: Option<PathBuf>,
    /// Only ways to renew whose name has this in it.
    pub(crate) matching: String,
    /// Database whose copies are used instead of the loaded one's.
    pub(crate) ground: Option<String>,
}

/// `None` asks for the help text.
pub(crate) fn parse(words: Vec<String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        parts: PARTS.map(|(_, part)| part).to_vec(),
        rounds: 0,
        quick: false,
        full: false,
        keep: None,
        matching: String::new(),
        ground: None,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--bench" => {} // cargo's own
            "--quick" => options.quick = true,
            "--full" => options.full = true,
            "--keep" => options.keep = Some(value()?.into()),
            "--match" => options.matching = value()?,
            "--ground" => options.ground = Some(value()?),
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds wants a number")?,
            "--only" => options.parts = parts(&value()?)?,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("unknown option {other}")),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 1 } else { 3 };
    }
    Ok(Some(options))
}

fn parts(names: &str) -> Result<Vec<Part>, String> {
    let part = |name: &str| {
        let found = PARTS.iter().find(|(known, _)| *known == name);
        found.map(|(_, part)| *part).ok_or(format!("unknown part {name}"))
    };
    names.split(',').map(part).collect()
}

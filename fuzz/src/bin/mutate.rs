//! Runs every target over its corpus, and then over what becomes of it by mutation, for so many seconds in all. Knows
//! nothing of coverage, and needs nothing but a compiler. What breaks a promise is kept in `fuzz/artifacts` and named.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --bin mutate -- SECONDS [SEED]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use perennial_fuzz::{TARGETS, Target};

/// Longer inputs find nothing that shorter ones do not.
const LONGEST: usize = 1 << 16;
/// What these formats are made of, and what has broken programs before.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\n",
    b"=",
    b"-",
    b"0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1e400",
    b"NaN",
    b"infinity",
    b"9999-12-31T23:59:59Z",
    b"0001-01-01",
    b"\xff\xff\xff\xff",
    b"\x0a\x80\x80\x80\x80\x10",
    "\u{202E}".as_bytes(),
    "\u{1F600}".as_bytes(),
    b"</b>",
    b"&amp;",
    b"<a href=\"",
    b"null",
    b"[[node]]\n",
    b"{ $tariff }",
    b"{ $amount ->\n   *[x] y\n }",
    b"renewed = ",
    b"    .button = x\n",
    b"#",
    b"\xef\xbb\xbf",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(seconds) = arguments.next().and_then(|text| text.parse::<u64>().ok()) else {
        eprintln!("usage: mutate SECONDS [SEED]");
        return ExitCode::from(2);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| u64::from(time.subsec_nanos()) | 1);
    let seed = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(now);
    let each = Duration::from_secs(seconds) / TARGETS.len() as u32;
    let broken: Vec<&str> =
        TARGETS.into_iter().filter(|target| !holds(*target, each, seed)).map(|(name, _)| name).collect();
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn holds((name, target): Target, time: Duration, seed: u64) -> bool {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "the corpus of {name} is missing");
    let mut random = Random(seed ^ 0x9E37_79B9_7F4A_7C15);
    // An overflow of the stack ends the process: then the input that did it lies here.
    let latest = artifacts().join(format!("{name}-latest"));
    let began = Instant::now();
    let mut tried = 0_usize;
    while tried < corpus.len() || began.elapsed() < time {
        let input = match corpus.get(tried) {
            Some(input) => input.clone(),
            None => mutated(&corpus, &mut random),
        };
        if let Err(error) = fs::write(&latest, &input) {
            eprintln!("{}: {error}", latest.display());
        }
        let begun = Instant::now();
        let outcome = catch_unwind(|| target(&input));
        let slow = begun.elapsed() > Duration::from_secs(10);
        if outcome.is_err() || slow {
            let kept = artifacts().join(format!("{name}-{seed}-{tried}"));
            drop(fs::rename(&latest, &kept));
            eprintln!("{name}: BROKEN ({}) by {}", if slow { "too slow" } else { "panic" }, kept.display());
            return false;
        }
        tried += 1;
    }
    drop(fs::remove_file(&latest));
    println!("{name}: {tried} inputs in {} s, seed {seed}: held", began.elapsed().as_secs());
    true
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn artifacts() -> PathBuf {
    let folder = root().join("artifacts");
    drop(fs::create_dir_all(&folder));
    folder
}

/// The kept inputs, and the shipped files of that kind.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("corpus").join(name))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    match name {
        "settings" => files.push(root().join("../deploy/perennial.toml")),
        "texts" => {
            files.extend(["en", "ru"].map(|language| root().join(format!("../crates/texts/ftl/{language}.ftl"))))
        }
        _ => {}
    }
    files.sort();
    files.into_iter().filter_map(|file| fs::read(file).ok()).collect()
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(8) {
        let at = random.below(input.len() + 1);
        let until = (at + 1 + random.below(32)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 if at < until => drop(input.drain(at..until)),
            3 if at < until => {
                let piece = input[at..until].to_vec();
                let times = if random.below(20) == 0 { 2_000 } else { 1 + random.below(4) };
                drop(input.splice(at..at, piece.repeat(times)));
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                drop(input.splice(at..at, other[from..to].to_vec()));
            }
            5 => input.truncate(at),
            _ => {
                let word = WORDS[random.below(WORDS.len())];
                let times = if random.below(20) == 0 { 5_000 } else { 1 };
                drop(input.splice(at..at, word.repeat(times)));
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }
}

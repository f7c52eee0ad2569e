use std::path::Path;
use std::time::Duration;

use super::*;
use crate::span::Span;

const SAMPLE: &str = r#"
owner_prefix = "p."
protected_prefixes = ["admin."]

[database]
url_file = "/etc/perennial/database-url"
ca_file = "/etc/perennial/ca.pem"
pool_size = 6

[telegram]
api = "https://api.telegram.org"
token_file = "/etc/perennial/token"
proxy = "socks5://user:hunter2@proxy:1080"
rate_per_second = 25
admin_chat = -100123

[texts]
folder = "/etc/perennial/texts"
default_language = "ru"
default_time_zone = "Europe/Moscow"
quiet_hours = "23:00-08:00"

[renew]
window = "6h"
grace = "15m"
charge_notice = "24h"
batch_size = 300
workers = 4
max_seconds = 200
mode = "limited"
limit = 50
output = "json"
log_format = "json"
metrics_file = "/var/lib/node_exporter/renew.prom"
ping_url = "https://hc.example/ping/hunter2"

[trials]
stages = [{ name = "6h", after = "6h" }, { name = "60h", before = "12h" }]
no_end = false

[expire]
grace = "15m"
max_ends = 1000
max_ends_share = 0.3

[reconcile]
missing = "report"
orphan_grace = "10m"
max_removals = 50
max_removal_share = 0.2

[[node]]
name = "ams-1"
api = "http://10.0.0.5:10085"
[[node.inbound]]
tag = "vless-in"
[[node.inbound]]
tag = "vless-plus"
group = "plus"
flow = "xtls-rprx-vision"

[[node]]
name = "local"
api = "unix:/run/xray/api.sock"
[[node.inbound]]
tag = "vless-in"
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("p.toml")).map_err(|error| error.to_string())
}

#[test]
fn a_file_with_every_setting_is_read() {
    let config = parse(SAMPLE).unwrap();
    assert_eq!(config.renew.window().duration(), Duration::from_secs(6 * 3600));
    assert_eq!(config.renew.common().batch_size, Some(300));
    assert_eq!(config.texts.quiet_hours.map(|hours| hours.to_string()).as_deref(), Some("23:00-08:00"));
    assert_eq!(config.expire.max_ends_share().to_string(), "0.3");
    assert_eq!(config.reconcile.missing(), Missing::Report);
    assert_eq!(config.nodes[0].inbounds[0].group, "basic");
    assert_eq!(config.nodes[0].inbounds[1].flow, "xtls-rprx-vision");
    let stages = config.trials.stages();
    assert_eq!(stages[1].moment(), Some(StageMoment::BeforeEnd(Span::seconds(12 * 3600))));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.owner_prefix, "p.");
    let shown = |span: Span| span.to_string();
    assert_eq!([config.renew.window(), config.renew.grace()].map(shown), ["6h", "15m"]);
    assert_eq!(config.renew.charge_notice, None, "charges are announced only where that is asked for");
    assert_eq!([config.expire.grace(), config.reconcile.orphan_grace()].map(shown), ["15m", "10m"]);
    assert_eq!(config.expire.max_ends_share().to_string(), "0.3");
    assert_eq!(config.reconcile.max_removal_share().to_string(), "0.2");
    let names: Vec<String> = config.trials.stages().into_iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["6h", "60h", "71h"]);
}

#[test]
fn what_cannot_be_used_is_refused_with_line_key_value_and_remedy() {
    for (text, expected) in [
        ("[renew]\nwindwo = \"6h\"", "p.toml, line 2: renew.windwo: unknown field `windwo`, expected one of `window`"),
        ("[renwe]", "p.toml, line 1: renwe: unknown field `renwe`, expected one of `owner_prefix`"),
        ("[renew]\nwindow = 6", "p.toml, line 2: renew.window: invalid type: integer `6`, expected a length of time"),
        (
            "[renew]\ngrace = \"15\"",
            "p.toml, line 2: renew.grace: \"15\": no unit: write a whole number and one of s, m, h, d",
        ),
        ("[renew\n", "p.toml, line 1: "),
        ("owner_prefix = \"p.\"\nowner_prefix = \"q.\"", "p.toml, line 2: duplicate key: correct the line (TOML)"),
        (
            "\n[renew]\nbatch_size = 0",
            "p.toml, line 3: renew.batch_size = 0: out of range: write a number from 1 to 10000",
        ),
        ("[renew]\nbatch_size = -1", "p.toml, line 2: renew.batch_size: invalid value: integer `-1`"),
        ("[trials]\nworkers = 65", "p.toml, line 2: trials.workers = 65: out of range: write a number from 1 to 64"),
        ("[expire]\nmax_seconds = 0", "p.toml, line 2: expire.max_seconds = 0: out of range"),
        (
            "[database]\npool_size = 2\n[renew]\nworkers = 3",
            "p.toml, line 4: renew.workers = 3: more workers than connections (database.pool_size = 2): lower workers",
        ),
        ("[database]\npool_size = 0", "p.toml, line 2: database.pool_size = 0: out of range"),
        (
            "[renew]\ngrace = \"6h\"",
            "p.toml, line 2: renew.grace = 6h: must be shorter than renew.window (6h): lower the grace",
        ),
        ("[renew]\nwindow = \"15m\"", "p.toml: renew.grace = 15m: must be shorter than renew.window (15m)"),
        (
            "[renew]\ncharge_notice = \"6h\"",
            "p.toml, line 2: renew.charge_notice = 6h: must be longer than renew.window (6h): then it is charged: raise",
        ),
        (
            "[expire]\ngrace = \"1h\"",
            "p.toml, line 2: expire.grace = 1h: must not be longer than renew.grace (15m), after which renew charges",
        ),
        (
            "[renew]\nmode = \"careful\"",
            "p.toml, line 2: renew.mode: unknown variant `careful`, expected one of `observe`",
        ),
        ("[renew]\nlimit = 0", "p.toml, line 2: renew.limit = 0: out of range: write a number from 1 to 1000000000"),
        (
            "[renew]\ndry_run = true\nmode = \"observe\"",
            "p.toml, line 3: renew.mode = observe: contradicts dry_run = true, which keeps no record of what it sees",
        ),
        (
            "[retention]\nnotices = \"29d\"",
            "p.toml, line 2: retention.notices = 29d: too short: it is still asked about: write 30d or more",
        ),
        ("[retention]\naudit = \"179d\"", "p.toml, line 2: retention.audit = 179d: too short"),
        ("[expire]\nmax_ends_share = 1.5", "p.toml, line 2: expire.max_ends_share: 1.5: not a share: write a number"),
        ("[reconcile]\nmax_removal_share = -0.1", "p.toml, line 2: reconcile.max_removal_share: -0.1: not a share"),
        ("[reconcile]\nmissing = \"add\"", "p.toml, line 2: reconcile.missing: unknown variant `add`, expected"),
        ("[texts]\nquiet_hours = \"23-8\"", "p.toml, line 2: texts.quiet_hours: \"23-8\": no quiet hours: write"),
        ("[texts]\ndefault_language = \"Русский\"", "p.toml, line 2: texts.default_language = \"Русский\": is no lang"),
        ("[texts]\ndefault_time_zone = \"\"", "p.toml, line 2: texts.default_time_zone = \"\": is no time zone"),
        ("[telegram]\nrate_per_second = 31", "p.toml, line 2: telegram.rate_per_second = 31: out of range"),
        ("owner_prefix = \"P.\"", "p.toml, line 1: owner_prefix = \"P.\": cannot begin an e-mail of ours: write 1 to"),
        ("owner_prefix = \"\"", "p.toml, line 1: owner_prefix = \"\": cannot begin"),
        ("protected_prefixes = [\"a.\", \"p\"]", "p.toml, line 1: protected_prefixes = \"p\": protects our own users"),
        ("protected_prefixes = [\"\"]", "p.toml, line 1: protected_prefixes = \"\": protects our own users"),
        ("[renew]\nping_url = \"hunter2\"", "p.toml, line 2: renew.ping_url: is no address of a heartbeat: write one"),
        (
            "database = \"postgresql://u:hunter2@h/d\"",
            "p.toml, line 1: database: invalid type: text, expected struct DatabaseSection: correct it",
        ),
    ] {
        let error = parse(text).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{text}\n gives {error}");
        assert!(!error.contains('\n') && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn stages_and_nodes_that_contradict_themselves_are_refused() {
    let node = "[[node]]\nname = \"a\"\napi = \"http://h:1\"\n[[node.inbound]]\ntag = \"t\"\n";
    for (text, expected) in [
        (
            "[trials]\nstages = [{ name = \"x\" }]".to_owned(),
            "p.toml, line 2: trials.stages[1] = x: needs one moment: give either after (the start) or before (the end)",
        ),
        (
            "[trials]\nstages = [{ name = \"x\", after = \"1h\", before = \"1h\" }]".to_owned(),
            "p.toml, line 2: trials.stages[1] = x: needs one moment",
        ),
        (
            "[trials]\nstages = [{ name = \"x\", after = \"1h\" },\n{ name = \"x\", after = \"2h\" }]".to_owned(),
            "p.toml, line 3: trials.stages[2].name = x: names two stages",
        ),
        (
            "[trials]\nstages = [{ name = \"x y\", after = \"1h\" }]".to_owned(),
            "p.toml, line 2: trials.stages[1].name = \"x y\": is no plain name: write 1 to 64",
        ),
        (format!("{node}{node}"), "p.toml, line 7: node[2].name = a: names two nodes: give each node a name"),
        (
            format!("{node}[[node.inbound]]\ntag = \"t\"\n"),
            "p.toml, line 7: node[1].inbound[2].tag = t: stands twice: remove one of them",
        ),
        (
            "[[node]]\nname = \"a\"\napi = \"http://h:1\"".to_owned(),
            "p.toml: node[1].inbound: no inbound, so the node would serve nobody: add [[node.inbound]] with its tag",
        ),
        (
            node.replace("http://h:1", "h:1"),
            "p.toml, line 3: node[1].api = h:1: is no address of an API: write http://HOST:PORT, https://HOST:PORT or",
        ),
        (
            node.replace("api =", "ca_file = \"/ca\"\napi ="),
            "p.toml, line 3: node[1].ca_file = /ca: is of no use with api = http://h:1: write https:// or remove",
        ),
        (node.replace("tag = \"t\"", "tag = \"\""), "p.toml, line 5: node[1].inbound[1].tag = \"\": is empty"),
        (
            // No database takes it, so every pass over that node would stop.
            node.replace("tag = \"t\"", "tag = \"t\\u0000\""),
            "p.toml, line 5: node[1].inbound[1].tag = \"t\\0\": is too long or holds a control character",
        ),
        ("[[node]]\nname = \"a\"".to_owned(), "p.toml, line 1: node[1]: missing field `api`"),
    ] {
        let error = parse(&text).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{text}\n gives {error}");
    }
}

#[test]
fn a_window_of_more_than_half_a_day_is_fine() {
    assert!(parse("[renew]\nwindow = \"2d\"").is_ok());
}

#[test]
fn only_the_default_file_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let (_, file) = Config::load_or(None, &missing).unwrap();
    assert_eq!(file, None);
    let error = Config::load_or(Some(&missing), &missing).unwrap_err().to_string();
    assert!(error.starts_with("--config = ") && error.contains("cannot be read"), "{error}");

    std::fs::write(&missing, "owner_prefix = \"q.\"").unwrap();
    let (config, file) = Config::load_or(None, &missing).unwrap();
    assert_eq!((config.owner_prefix.as_str(), file.as_deref()), ("q.", Some(missing.as_path())));
}

#[test]
fn flags_poured_into_a_section_win_over_the_file() {
    let flags = RenewSection { grace: Some(Span::seconds(60)), ..RenewSection::default() };
    let section = flags.or(&parse("[renew]\ngrace = \"5m\"\nwindow = \"1h\"").unwrap().renew);
    assert_eq!((section.grace().to_string(), section.window().to_string()), ("1m".to_owned(), "1h".to_owned()));
    let contradicting = RenewSection { window: Some(Span::seconds(60)), ..RenewSection::default() }.or(&section);
    assert!(contradicting.check().is_err());
}

//! `[[node]]`: the Xray servers and their inbounds.

use std::path::PathBuf;

use serde::Deserialize;

use super::check;
use crate::setting::SettingError;

/// One Xray server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name in database, logs and metrics. Renaming it makes it another node.
    pub name: String,
    /// Where its API answers: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
    pub api: String,
    /// Certificates of the authority that signed its API's, PEM; the public ones when absent.
    pub ca_file: Option<PathBuf>,
    /// Its inbounds that serve our users; all others are left alone.
    #[serde(default, rename = "inbound")]
    pub inbounds: Vec<Inbound>,
}

/// One inbound of a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Its tag in the server's configuration.
    pub tag: String,
    /// The access group it serves; default `basic`.
    #[serde(default = "basic")]
    pub group: String,
    /// VLESS flow of the users added, such as `xtls-rprx-vision`; default none.
    #[serde(default)]
    pub flow: String,
}

/// Bytes of a tag or a flow: both stand in keys of the database, which hold no more than some two thousand.
const LONGEST_NAME: usize = 256;

fn basic() -> String {
    "basic".to_owned()
}

/// `place` is where they stand: `node` in the file, or a flag.
pub(crate) fn check(place: &str, nodes: &[Node]) -> Result<(), SettingError> {
    for (index, node) in nodes.iter().enumerate() {
        let key = format!("{place}[{}]", index + 1);
        check::plain_name(&format!("{key}.name"), &node.name)?;
        if nodes[..index].iter().any(|earlier| earlier.name == node.name) {
            return Err(SettingError::new(
                format!("{key}.name"),
                &node.name,
                "names two nodes",
                "give each node a name of its own",
            ));
        }
        check_api(&key, node)?;
        check_inbounds(&key, &node.inbounds)?;
    }
    Ok(())
}

fn check_api(key: &str, node: &Node) -> Result<(), SettingError> {
    let is_address = ["http://", "https://", "unix:/"].iter().any(|start| {
        node.api.strip_prefix(start).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    });
    if !is_address {
        return Err(SettingError::new(
            format!("{key}.api"),
            &node.api,
            "is no address of an API",
            "write http://HOST:PORT, https://HOST:PORT or unix:/PATH",
        ));
    }
    if let (Some(ca_file), false) = (&node.ca_file, node.api.starts_with("https://")) {
        return Err(SettingError::new(
            format!("{key}.ca_file"),
            ca_file.display(),
            format!("is of no use with api = {}", node.api),
            "write https:// or remove ca_file",
        ));
    }
    Ok(())
}

fn check_inbounds(key: &str, inbounds: &[Inbound]) -> Result<(), SettingError> {
    if inbounds.is_empty() {
        return Err(SettingError::unshown(
            format!("{key}.inbound"),
            "no inbound, so the node would serve nobody",
            "add [[node.inbound]] with its tag",
        ));
    }
    for (index, inbound) in inbounds.iter().enumerate() {
        let key = format!("{key}.inbound[{}]", index + 1);
        if inbound.tag.is_empty() {
            return Err(SettingError::new(format!("{key}.tag"), "\"\"", "is empty", "write the tag as Xray has it"));
        }
        for (name, value) in [("tag", &inbound.tag), ("flow", &inbound.flow)] {
            if value.len() > LONGEST_NAME || value.contains(char::is_control) {
                return Err(SettingError::new(
                    format!("{key}.{name}"),
                    format!("{:?}", value.chars().take(40).collect::<String>()),
                    "is too long or holds a control character",
                    "write it as Xray has it",
                ));
            }
        }
        if inbounds[..index].iter().any(|earlier| earlier.tag == inbound.tag) {
            return Err(SettingError::new(format!("{key}.tag"), &inbound.tag, "stands twice", "remove one of them"));
        }
        check::plain_name(&format!("{key}.group"), &inbound.group)?;
    }
    Ok(())
}

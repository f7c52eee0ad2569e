//! The Xray servers of a program that talks to them: from flags, else from the settings file.

use std::str::FromStr;

use clap::Args;
use perennial_core::node;
use perennial_core::ports::InboundTag;
use perennial_xray::{NodeSettings, XrayNode};

use crate::config::{self, Config, Inbound, Node};
use crate::setting::SettingError;

/// Flags of programs that talk to Xray; flatten them into the main's own.
#[derive(Debug, Clone, Default, Args)]
pub struct XrayOptions {
    /// Use this Xray server instead of those in the settings file, with the flows that stand there; repeatable, in the
    /// variable separated by blanks
    #[arg(
        long = "xray",
        value_name = "NAME=ADDRESS#TAG[:GROUP][,TAG…]",
        env = "PERENNIAL_XRAY",
        value_delimiter = ' '
    )]
    pub xray: Vec<NodeArgument>,
}

/// A node as a flag writes it: `de1=http://10.0.0.5:10085#vless-in:basic,vless-plus:plus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeArgument(Node);

impl FromStr for NodeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write NAME=ADDRESS#TAG[:GROUP][,TAG…], such as de1=http://10.0.0.5:10085#vless-in:basic";
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("no NAME=: {wanted}"))?;
        let (api, tags) = rest.rsplit_once('#').ok_or_else(|| format!("no #TAG: {wanted}"))?;
        let inbounds = tags
            .split(',')
            .map(|tag| {
                let (tag, group) = tag.split_once(':').unwrap_or((tag, "basic"));
                Inbound { tag: tag.to_owned(), group: group.to_owned(), flow: String::new() }
            })
            .collect();
        Ok(Self(Node { name: name.to_owned(), api: api.to_owned(), ca_file: None, inbounds }))
    }
}

impl XrayOptions {
    /// The nodes of the flags; without any, those of the settings file. The flow of a flag's inbound, which it cannot say,
    /// is that of the same inbound in the settings: with another one, users would be added who cannot connect.
    ///
    /// # Errors
    /// A node of the flags cannot be one.
    pub fn nodes(&self, config: &Config) -> Result<Vec<Node>, SettingError> {
        if self.xray.is_empty() {
            return Ok(config.nodes.clone());
        }
        let mut nodes: Vec<Node> = self.xray.iter().map(|argument| argument.0.clone()).collect();
        config::check_nodes("--xray", &nodes)?;
        for node in &mut nodes {
            for inbound in &mut node.inbounds {
                inbound.flow = flow_in(config, &node.name, &inbound.tag);
            }
        }
        Ok(nodes)
    }

    /// The same with a client each, which connects at its first call.
    ///
    /// # Errors
    /// A node cannot be one, or its CA file cannot be used.
    pub fn clients(&self, config: &Config) -> Result<Vec<node::Node<XrayNode>>, SettingError> {
        self.nodes(config)?.into_iter().map(client).collect()
    }
}

fn flow_in(config: &Config, node: &str, tag: &str) -> String {
    let nodes = config.nodes.iter().filter(|known| known.name == node);
    let same = nodes.flat_map(|known| &known.inbounds).find(|inbound| inbound.tag == tag);
    same.map(|inbound| inbound.flow.clone()).unwrap_or_default()
}

fn client(node: Node) -> Result<node::Node<XrayNode>, SettingError> {
    let settings = NodeSettings { ca_file: node.ca_file, ..NodeSettings::new(&node.name, &node.api) };
    let xray = XrayNode::connect(settings).map_err(|error| {
        SettingError::new("node.api", &node.api, error.to_string(), "correct the address or the CA file")
    })?;
    let inbound = |Inbound { tag, group, flow }| node::Inbound { tag: InboundTag(tag), group, flow };
    Ok(node::Node { name: node.name, inbounds: node.inbounds.into_iter().map(inbound).collect(), xray })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> XrayOptions {
        XrayOptions { xray: arguments.iter().map(|argument| argument.parse().unwrap()).collect() }
    }

    #[test]
    fn a_flag_names_a_node_with_its_inbounds() {
        let nodes = options(&["de1=unix:/run/xray/api.sock#a,b:plus"]).nodes(&Config::default()).unwrap();
        assert_eq!(nodes[0].name, "de1");
        assert_eq!(nodes[0].api, "unix:/run/xray/api.sock");
        let inbounds: Vec<_> = nodes[0].inbounds.iter().map(|i| (i.tag.as_str(), i.group.as_str())).collect();
        assert_eq!(inbounds, [("a", "basic"), ("b", "plus")]);
    }

    #[test]
    fn a_flow_is_that_of_the_same_inbound_in_the_settings() {
        let inbound = |tag: &str, flow: &str| Inbound { tag: tag.into(), group: "basic".into(), flow: flow.into() };
        let known = Node {
            name: "de1".into(),
            api: "http://h:1".into(),
            ca_file: None,
            inbounds: vec![inbound("a", ""), inbound("b", "xtls-rprx-vision")],
        };
        let config = Config { nodes: vec![known], ..Config::default() };
        let nodes = options(&["de1=http://other:1#a,b,c", "nl1=http://other:2#b"]).nodes(&config).unwrap();
        let flows: Vec<_> = nodes.iter().flat_map(|node| &node.inbounds).map(|inbound| &*inbound.flow).collect();
        assert_eq!(flows, ["", "xtls-rprx-vision", "", ""]);
    }

    #[test]
    fn what_is_no_node_is_refused_with_the_form_that_is() {
        for wrong in ["de1", "de1=http://h:1", "http://h:1#tag"] {
            let refused = wrong.parse::<NodeArgument>().unwrap_err();
            assert!(refused.contains("NAME=ADDRESS#TAG"), "{wrong}: {refused}");
        }
        let twice = options(&["a=http://h:1#t", "a=http://h:2#t"]).nodes(&Config::default()).unwrap_err();
        assert!(twice.to_string().contains("names two nodes"), "{twice}");
        let address = options(&["a=h:1#t"]).nodes(&Config::default()).unwrap_err();
        assert!(address.to_string().starts_with("--xray[1].api = h:1"), "{address}");
    }
}

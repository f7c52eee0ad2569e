//! Xray's messages, generated from `proto/`; `tests/wire.rs` makes them anew and compares.
//!
//! None of them leaves this crate, and none can be printed: they hold UUIDs.

#![allow(clippy::all, missing_docs, unreachable_pub, dead_code)] // generated

pub(crate) mod xray {
    pub(crate) mod common {
        pub(crate) mod serial {
            include!("wire/xray.common.serial.rs");
        }
        pub(crate) mod protocol {
            include!("wire/xray.common.protocol.rs");
        }
    }
    pub(crate) mod proxy {
        pub(crate) mod vless {
            include!("wire/xray.proxy.vless.rs");
        }
    }
    pub(crate) mod app {
        pub(crate) mod proxyman {
            pub(crate) mod command {
                include!("wire/xray.app.proxyman.command.rs");
            }
        }
        pub(crate) mod stats {
            pub(crate) mod command {
                include!("wire/xray.app.stats.command.rs");
            }
        }
    }
}

pub(crate) use xray::app::proxyman::command as handler;
pub(crate) use xray::app::stats::command as stats;
pub(crate) use xray::common::protocol::User;
pub(crate) use xray::common::serial::TypedMessage;
pub(crate) use xray::proxy::vless::Account;

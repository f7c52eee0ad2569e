//! What anybody would write first to take users off an Xray server: plain tonic, no deadline, no check. Benchmarks measure
//! our own client and passes by it.

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
struct Typed {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Alter {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(message, optional, tag = "2")]
    operation: Option<Typed>,
}

#[derive(Clone, PartialEq, Message)]
struct Remove {
    #[prost(string, tag = "1")]
    email: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

/// The client of one inbound.
#[derive(Debug)]
pub struct BareXray {
    channel: Channel,
    tag: String,
}

impl BareXray {
    /// Connects to the API at this address.
    ///
    /// # Errors
    /// The transport's.
    pub async fn connect(address: String, tag: &str) -> Result<Self, tonic::transport::Error> {
        Ok(Self { channel: Endpoint::from_shared(address)?.connect().await?, tag: tag.to_owned() })
    }

    /// Takes a user off.
    ///
    /// # Errors
    /// The server's or the transport's; also that there is no such user.
    pub async fn remove(&self, email: &str) -> Result<(), Status> {
        let value = Remove { email: email.to_owned() }.encode_to_vec();
        let name = "xray.app.proxyman.command.RemoveUserOperation".to_owned();
        let request = Alter { tag: self.tag.clone(), operation: Some(Typed { name, value }) };
        let path = PathAndQuery::from_static("/xray.app.proxyman.command.HandlerService/AlterInbound");
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        grpc.unary(Request::new(request), path, ProstCodec::<Alter, Nothing>::default()).await?;
        Ok(())
    }
}

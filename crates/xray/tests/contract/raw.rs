//! A gRPC client that sends any bytes, also those our own client cannot build.

use http::uri::PathAndQuery;
use prost::bytes::{Buf as _, BufMut as _};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub(crate) const COMMAND: &str = "xray.app.proxyman.command";

struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; source.remaining()];
        source.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

pub(crate) struct Raw(Channel);

impl Raw {
    pub(crate) async fn connect(address: &str) -> Self {
        Self(Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap())
    }

    /// The bytes of the answer, or code and text.
    pub(crate) async fn call(&self, method: &str, message: Vec<u8>) -> Result<Vec<u8>, (Code, String)> {
        let service = if method.contains("Stats") {
            "xray.app.stats.command.StatsService"
        } else {
            "xray.app.proxyman.command.HandlerService"
        };
        let path = PathAndQuery::try_from(format!("/{service}/{method}")).unwrap();
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.unwrap();
        let answer = grpc.unary(Request::new(message), path, Bytes).await;
        answer.map(tonic::Response::into_inner).map_err(|status| (status.code(), status.message().to_owned()))
    }

    pub(crate) async fn alter(&self, tag: &str, operation: Option<Vec<u8>>) -> Result<Vec<u8>, (Code, String)> {
        let mut request = field(1, tag.as_bytes());
        request.extend(operation.map(|operation| field(2, &operation)).unwrap_or_default());
        self.call("AlterInbound", request).await
    }
}

/// A field of text, bytes or a message.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut whole = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len().try_into().unwrap(), &mut whole);
    whole.extend(bytes);
    whole
}

pub(crate) fn typed(name: &str, message: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, message)].concat()
}

/// An operation that adds a user with an account.
pub(crate) fn add(email: &str, account: Vec<u8>) -> Vec<u8> {
    let user = [field(2, email.as_bytes()), field(3, &account)].concat();
    typed(&format!("{COMMAND}.AddUserOperation"), &field(1, &user))
}

pub(crate) fn vless(id: &str) -> Vec<u8> {
    typed("xray.proxy.vless.Account", &field(1, id.as_bytes()))
}

pub(crate) fn remove(email: &str) -> Vec<u8> {
    typed(&format!("{COMMAND}.RemoveUserOperation"), &field(1, email.as_bytes()))
}

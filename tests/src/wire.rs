//! How a client talks to a server.

/// A way to carry a stream of bytes over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The bytes as they are: what the program sees without the library.
    Plain,
    /// draft-hixie-thewebsocketprotocol-75, base64 in text frames.
    Hixie75,
    /// draft-ietf-hybi-thewebsocketprotocol-00 (draft-hixie-76), base64 in text frames.
    Hixie76,
    /// RFC 6455, binary frames.
    Rfc6455,
    /// RFC 6455 with the subprotocol `base64`: base64 in text frames.
    Rfc6455Base64,
}

impl Wire {
    /// Every wire that is a WebSocket.
    pub const WEBSOCKET: [Self; 4] = [Self::Hixie75, Self::Hixie76, Self::Rfc6455, Self::Rfc6455Base64];

    /// The WebSocket wires to test: all, or those that `WSTESTS_WIRES` names (as in `Debug`, comma-separated), or none of
    /// them when it is empty. For work on one dialect.
    ///
    /// # Panics
    /// If it names something else.
    #[must_use]
    pub fn selected() -> Vec<Self> {
        let Ok(names) = std::env::var("WSTESTS_WIRES") else {
            return Self::WEBSOCKET.to_vec();
        };
        let find = |name: &str| {
            Self::WEBSOCKET
                .into_iter()
                .find(|wire| format!("{wire:?}") == name)
                .unwrap_or_else(|| panic!("WSTESTS_WIRES: {name:?} is none of {:?}", Self::WEBSOCKET))
        };
        names.split(',').filter(|name| !name.is_empty()).map(find).collect()
    }

    /// Whether this is one of the two early drafts (frames between `00` and `FF`).
    #[must_use]
    pub fn is_hixie(self) -> bool {
        matches!(self, Self::Hixie75 | Self::Hixie76)
    }

    /// Whether frames are those of RFC 6455.
    #[must_use]
    pub fn is_rfc6455(self) -> bool {
        matches!(self, Self::Rfc6455 | Self::Rfc6455Base64)
    }
}

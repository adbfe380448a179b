//! The lines between the parent and the helper. Whoever reads one treats it as foreign.

use std::{fmt, str::FromStr};

/// Longest line either side reads.
pub const MAX_LINE: u64 = 64;

/// The helper's only line: the program has been started.
pub const STARTED: &str = "started";

/// What the parent asks the helper for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Someone came to a published port: dial `port` inside and bring the connection as `id`.
    Open { id: u64, port: u16 },
    /// Pass a signal on to the program.
    Signal(Signal),
}

/// Signals that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Hangup,
    Interrupt,
    Quit,
    Terminate,
    User1,
    User2,
}

impl Signal {
    pub const ALL: [Signal; 6] = [
        Signal::Hangup,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Terminate,
        Signal::User1,
        Signal::User2,
    ];

    /// As `kill -s` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Hangup => "HUP",
            Signal::Interrupt => "INT",
            Signal::Quit => "QUIT",
            Signal::Terminate => "TERM",
            Signal::User1 => "USR1",
            Signal::User2 => "USR2",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Open { id, port } => write!(f, "open {id} {port}"),
            Order::Signal(signal) => write!(f, "signal {}", signal.name()),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an order of ours")]
pub struct OrderError;

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(line: &str) -> Result<Self, OrderError> {
        let mut words = line.split(' ');
        let order = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("open"), Some(id), Some(port), None) => Order::Open {
                id: id.parse().map_err(|_| OrderError)?,
                port: port.parse().map_err(|_| OrderError)?,
            },
            (Some("signal"), Some(name), None, None) => {
                let known = Signal::ALL.into_iter().find(|s| s.name() == name);
                Order::Signal(known.ok_or(OrderError)?)
            }
            _ => return Err(OrderError),
        };
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_read_as_it_was_written() {
        let mut orders = vec![
            Order::Open { id: 0, port: 1 },
            Order::Open {
                id: u64::MAX,
                port: u16::MAX,
            },
        ];
        orders.extend(Signal::ALL.map(Order::Signal));
        for order in orders {
            let line = order.to_string();
            assert_eq!(line.parse(), Ok(order));
            assert!(line.len() < usize::try_from(MAX_LINE).unwrap(), "{line}");
        }
    }

    #[test]
    fn anything_else_is_no_order() {
        for line in [
            "",
            "open",
            "open 1",
            "open x 1",
            "open 1 65536",
            "open 1 2 3",
            "signal",
            "signal KILL",
            "signal TERM now",
            "start",
        ] {
            assert_eq!(line.parse::<Order>(), Err(OrderError), "{line}");
        }
    }
}

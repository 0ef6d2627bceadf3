//! Socket addresses in the kernel's form.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A socket address that the kernel reads, or fills in, at a fixed place in memory.
pub(super) struct RawAddress {
    pub(super) storage: libc::sockaddr_storage,
    pub(super) len: libc::socklen_t,
}

impl RawAddress {
    /// An empty address for the kernel to fill in.
    pub(super) fn empty() -> Box<Self> {
        // SAFETY: sockaddr_storage is made of integers, for which zero is a value.
        let storage = unsafe { std::mem::zeroed() };
        Box::new(Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t })
    }

    /// `address` for the kernel to read.
    pub(super) fn of(address: SocketAddr) -> Box<Self> {
        let mut raw = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: zero is a value for it, as above.
                let mut form: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                form.sin_family = libc::AF_INET as libc::sa_family_t;
                form.sin_port = v4.port().to_be();
                form.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                // SAFETY: a sockaddr_storage has the size and the alignment for every kind of address.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(form) };
                raw.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                // SAFETY: zero is a value for it, as above.
                let mut form: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                form.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                form.sin6_port = v6.port().to_be();
                form.sin6_flowinfo = v6.flowinfo();
                form.sin6_addr.s6_addr = v6.ip().octets();
                form.sin6_scope_id = v6.scope_id();
                // SAFETY: as above.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(form) };
                raw.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }

    /// Decodes the address that the kernel has filled in.
    pub(super) fn decode(&self) -> io::Result<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which form it has, and any bytes are a value of it.
                let form = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = form.sin_addr.s_addr.to_ne_bytes().into();
                Ok(SocketAddrV4::new(ip, u16::from_be(form.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let form = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(form.sin6_addr.s6_addr);
                Ok(SocketAddrV6::new(ip, u16::from_be(form.sin6_port), form.sin6_flowinfo, form.sin6_scope_id).into())
            }
            family => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the peer's address is of the unknown family {family}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernels_form() {
        for text in ["127.0.0.1:80", "255.1.2.3:65535", "[::1]:1", "[fe80::1234%7]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::of(address).decode().unwrap(), address);
        }
    }
}

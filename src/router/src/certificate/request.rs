//! A certificate request (PKCS #10, RFC 2986) for one DNS name and a key on the curve P-256. Pure: the signature is somebody else's.

use super::der::{bits, object, octets, sequence, set_of_one, small_integer, tagged, tagged_constructed, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `id-ecPublicKey`, `secp256r1` (RFC 5480 section 2.1.1).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `ecdsa-with-SHA256` (RFC 5758 section 3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `id-at-commonName`, `id-ce-subjectAltName` (RFC 5280).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// `pkcs-9-at-extensionRequest` (RFC 2985 section 5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

/// `dNSName` among the kinds of names (RFC 5280 section 4.2.1.6).
const DNS_NAME: u8 = 2;

/// `ub-common-name` (RFC 5280 appendix A): a longer name stands in the subjectAltName alone, which is where it counts.
const LONGEST_COMMON_NAME: usize = 64;

/// What is to be signed: the name, and the public key as an uncompressed point (65 bytes).
#[must_use]
pub fn information(name: &str, public_key: &[u8]) -> Vec<u8> {
    let common = sequence(&[&object(COMMON_NAME), &text(name)]);
    let subject = if name.len() > LONGEST_COMMON_NAME { sequence(&[]) } else { sequence(&[&set_of_one(&common)]) };
    let key = sequence(&[&sequence(&[&object(EC_PUBLIC_KEY), &object(P256)]), &bits(public_key)]);
    let names = sequence(&[&tagged(DNS_NAME, name.as_bytes())]);
    let extensions = sequence(&[&sequence(&[&object(SUBJECT_ALT_NAME), &octets(&names)])]);
    let attributes = tagged_constructed(0, &sequence(&[&object(EXTENSION_REQUEST), &set_of_one(&extensions)]));
    sequence(&[&small_integer(0), &subject, &key, &attributes])
}

/// The whole request: what was signed, and its signature (ECDSA with SHA-256, in ASN.1).
#[must_use]
pub fn signed(information: &[u8], signature: &[u8]) -> Vec<u8> {
    sequence(&[information, &sequence(&[&object(ECDSA_WITH_SHA256)]), &bits(signature)])
}

/// As people copy it (RFC 7468): base64 in lines of 64 characters, between lines that say what it is.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for (index, digit) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push('\n');
        }
        out.push(digit);
    }
    out + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut out, byte| {
            write!(out, "{byte:02x}").unwrap();
            out
        })
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    // By OpenSSL 3.0: `openssl req -new -key K -subj /CN=NAME -addext subjectAltName=DNS:NAME -sha256`.
    const NAME: &str = "kibera-7.hs.example.org";
    const POINT: &str = "04513e0221408858b2fa296c729d03679e642f4009b9c373e82e2e44bf5ab04c2a41573b7f8e1aa9441d38c96b37f30a8d19753acb976fa759944af2\
         1f83e3c2f8";
    const INFORMATION: &str = "3081b902010030223120301e06035504030c176b69626572612d372e68732e6578616d706c652e6f72673059301306072a8648ce3d020106082a8648\
         ce3d03010703420004513e0221408858b2fa296c729d03679e642f4009b9c373e82e2e44bf5ab04c2a41573b7f8e1aa9441d38c96b37f30a8d19753a\
         cb976fa759944af21f83e3c2f8a035303306092a864886f70d01090e3126302430220603551d11041b301982176b69626572612d372e68732e657861\
         6d706c652e6f7267";
    const SIGNATURE: &str = "30450220737a9ee40569b5ea1253e76c2b71ad2ab4ac74e6656cd11d636e0fdd3f9e16c6022100fa5c241b07e581fbfb4c02439f0dc5aa64c609ffc3\
         0a952dafe6411e83c95a88";
    const BETWEEN: &str = "300a06082a8648ce3d040302034800";

    #[test]
    fn a_request_is_openssl_s_byte_for_byte() {
        let information = information(NAME, &bytes(POINT));
        assert_eq!(hex(&information), INFORMATION);
        let whole = hex(&signed(&information, &bytes(SIGNATURE)));
        assert_eq!(whole, format!("30820112{INFORMATION}{BETWEEN}{SIGNATURE}"));
    }

    #[test]
    fn a_long_name_is_an_alternative_name_alone() {
        let (fits, long) = (format!("{}.org", "a".repeat(60)), format!("{}.org", "a".repeat(61)));
        assert!(hex(&information(&fits, &[4])).contains("0603550403"));
        let long = hex(&information(&long, &[4]));
        assert!(!long.contains("0603550403") && long.contains("0201003000") && long.contains("0603551d11"), "{long}");
    }

    #[test]
    fn pem_has_lines_of_64() {
        assert_eq!(pem("X", &[]), "-----BEGIN X-----\n\n-----END X-----\n");
        assert_eq!(pem("X", &[0; 48]), format!("-----BEGIN X-----\n{}\n-----END X-----\n", "A".repeat(64)));
        assert_eq!(pem("X", &[0; 49]), format!("-----BEGIN X-----\n{}\nAA==\n-----END X-----\n", "A".repeat(64)));
    }
}

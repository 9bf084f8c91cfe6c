//! Desktops by the RFB protocol (RFC 6143), in which the server speaks first. `tests/vnc.rs` shows one in a browser.

use crate::program::{Ends, Program, Talk, Way, words};

servers![tigervnc, x11vnc];

/// What both sides say first: RFC 6143, section 7.1.1.
const VERSION: &[u8] = b"RFB 003.008\n";

/// Text for the clipboard; x11vnc takes up to 1 MiB.
const TEXT: usize = 1_000_000;

/// A picture of 640 by 480 comes down, more than a megabyte; as much goes up as text for the clipboard.
fn picture(talk: &Talk) -> String {
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    assert_eq!(client.read_exact(VERSION.len()), VERSION);
    client.send_split(VERSION, &mut rng);
    // Section 7.1.2: one security type, None.
    assert_eq!(client.read_exact(2), [1, 1]);
    client.send_split(&[1], &mut rng);
    assert_eq!(client.read_exact(4), [0; 4], "SecurityResult");
    // Section 7.3.1: ClientInit, shared.
    client.send_split(&[1], &mut rng);
    let init = client.read_exact(24);
    let (width, height) = (u16::from_be_bytes([init[0], init[1]]), u16::from_be_bytes([init[2], init[3]]));
    let name = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
    client.read_exact(name as usize);
    let bytes_per_pixel = usize::from(init[4] / 8);
    // Section 7.5.2: SetEncodings, Raw alone; 7.5.6: ClientCutText.
    let mut messages = vec![2, 0, 0, 1, 0, 0, 0, 0];
    messages.extend_from_slice(&[6, 0, 0, 0]);
    messages.extend_from_slice(&(TEXT as u32).to_be_bytes());
    messages.extend(std::iter::repeat_n(b'x', TEXT));
    // Section 7.5.3: FramebufferUpdateRequest of the whole, not incremental.
    messages.extend_from_slice(&[3, 0, 0, 0, 0, 0]);
    messages.extend_from_slice(&init[..4]);
    client.send_split(&messages, &mut rng);
    let mut pixels = 0;
    while pixels < usize::from(width) * usize::from(height) {
        pixels += update(&mut client, bytes_per_pixel);
    }
    client.assert_pongs();
    client.close(1000);
    // An update may still be under way.
    client.read_to_end();
    format!("{width}x{height}")
}

/// Reads one message of the server and tells how many pixels it brought.
fn update(client: &mut wstests::Client, bytes_per_pixel: usize) -> usize {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    match client.read_exact(1)[0] {
        // Section 7.6.1: FramebufferUpdate.
        0 => {
            let count = number(&client.read_exact(3)[1..]);
            (0..count)
                .map(|_| {
                    let head = client.read_exact(12);
                    assert_eq!(head[8..], [0; 4], "another encoding than Raw");
                    let pixels = number(&head[4..6]) * number(&head[6..8]);
                    client.read_exact(pixels * bytes_per_pixel);
                    pixels
                })
                .sum()
        }
        // Section 7.6.3: Bell.
        2 => 0,
        // Section 7.6.4: ServerCutText.
        3 => {
            let len = number(&client.read_exact(7)[3..]);
            client.read_exact(len);
            0
        }
        other => panic!("message {other} of the server"),
    }
}

fn tigervnc() -> Program {
    Program {
        name: "TigerVNC",
        package: "tigervnc-standalone-server",
        client: "the harness",
        command: |site| {
            // The display's number is as free as the port is.
            words(&format!(
                "Xtigervnc :{0} -rfbport {0} -localhost -geometry 640x480 -depth 24 -SecurityTypes None -nolisten tcp \
                 -AlwaysShared -MaxCutText 2000000",
                site.port
            ))
        },
        talk: picture,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn x11vnc() -> Program {
    Program {
        name: "x11vnc",
        package: "x11vnc",
        command: |site| {
            let mut command = words("sh -c");
            command.arg(format!(
                "mkfifo {dir}/display; Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3>{dir}/display & \
                 read display <{dir}/display; \
                 exec x11vnc -display :$display -rfbport {port} -localhost -no6 -shared -forever -nopw -quiet -noxdamage",
                dir = site.path(""),
                port = site.port
            ));
            command
        },
        ..tigervnc()
    }
}

//! Small C servers that do what servers do in every odd way, each run bare and wrapped in each dialect: the transcripts
//! are the same.
//!
//! A scenario is one C function in `apps/torture_*.c`; it tells the client what to do (`torture_script.rs`), and a test is
//! a line of the tables below.

mod torture_peer;
mod torture_script;

use std::process::Command;

use torture_script::play;
use wstests::{Mode, Rng, Server, Wire, app, twin};

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(app(program));
    command.arg("{port}").args(arguments);
    command
}

/// One test for each scenario: bare and wrapped give the same transcript.
macro_rules! scenarios {
    ($module:ident, $program:literal: $($name:ident($($argument:literal),+))*) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $name() {
                    twin(|| command($program, &[$($argument),+]), play);
                }
            )*
        }
    };
}

// Every reading call and every writing call, one-byte ones among them, several clients at once.
scenarios! { io, "torture_io":
    one_byte_reads_and_writes("one", "one")
    read_and_write("read", "write")
    readv_and_writev("readv", "writev")
    recv_and_send("recv", "send")
    recvfrom_and_sendto("recvfrom", "sendto")
    recvmsg_and_sendmsg("recvmsg", "sendmsg")
    checked_read_and_one_byte_writes("read_chk", "one")
    checked_recv_and_writev("recv_chk", "writev")
    checked_recvfrom_and_more_to_come("recvfrom_chk", "more")
    one_byte_reads_and_sendmsg("one", "sendmsg")
    readv_and_more_to_come("readv", "more")
    preadv2_and_pwritev2("preadv2", "pwritev2")
    preadv64v2_and_pwritev64v2("preadv64v2", "pwritev64v2")
    recvmmsg_and_sendmmsg("recvmmsg", "sendmmsg")
    one_byte_reads_and_sendfile("one", "sendfile")
    read_and_sendfile64("read", "sendfile64")
    read_and_splice("read", "splice")
    further_names_of_libc("alias", "alias")
    raw_read_and_write("raw_read", "raw_write")
    raw_readv_and_writev("raw_readv", "raw_writev")
    raw_recvfrom_and_sendto("raw_recvfrom", "raw_sendto")
    raw_recvmsg_and_sendmsg("raw_recvmsg", "raw_sendmsg")
    recvmmsg_and_raw_sendfile("recvmmsg", "raw_sendfile")
    recvmmsg_and_dprintf("recvmmsg", "dprintf")
}

scenarios! { invariant_3_files, "torture_files":
    sendfile_blocks_until_all_is_sent("blocking")
    sendfile_on_a_full_socket("nonblocking")
    sendfile_by_offset_and_by_position("positions")
    what_sendfile_refuses("refused")
    sendfile_of_what_is_no_regular_file("special")
    sendfile_after_the_clients_end("gone")
    splice_from_a_pipe("splice")
    what_splice_refuses("splice-refused")
}

/// The one thing that is not as bare: what is in a pipe cannot be decoded.
#[test]
fn splice_from_a_wrapped_descriptor_is_refused() {
    for wire in Wire::selected() {
        let mut server = Server::start(Mode::of(wire), &mut command("torture_files", &["unspliced"]));
        let transcript = play(&mut server, wire, &mut Rng::new(1));
        assert_eq!(transcript.server, ["splice: EINVAL", "sendfile: EINVAL", "read: 20, right", "done"]);
    }
}

scenarios! { messages, "torture_messages":
    recvmmsg("recvmmsg")
    recvmmsg_at_the_end("end")
    recvmmsg_with_a_time_limit("timeout")
    sendmmsg_on_a_full_socket("sendmmsg")
    flags_and_offsets_of_vectors("vectors")
}

scenarios! { stdio, "torture_stdio":
    a_stream_for_both_directions("both")
    a_stream_for_each_direction("two")
    modes("modes")
    buffers("buffers")
    exit_writes_what_is_buffered("exit")
    reading_a_non_blocking_stream("nonblocking")
    dprintf_is_whole_or_fails("dprintf")
    streams_by_the_hundred("many")
    invariant_5_the_streams_that_are_there_from_the_start("standard")
}

scenarios! { raw, "torture_raw":
    system_calls_on_connections("calls")
    system_calls_that_wait("waits")
    system_calls_on_descriptors("descriptors")
    system_calls_that_have_nothing_to_do_with_us("others")
    a_child_of_clone("clone")
    a_child_of_clone3("clone3")
    a_child_of_clone_in_libc("libc-clone")
    a_child_of_underscore_fork("_Fork")
}

/// What is refused so that programs use epoll.
#[test]
fn io_uring_is_refused() {
    let mut server = Server::start(Mode::Wrapped, &mut command("torture_raw", &["uring"]));
    let transcript = play(&mut server, Wire::Rfc6455, &mut Rng::new(1));
    assert_eq!(transcript.server, ["io_uring_setup: ENOSYS", "done"]);
}

scenarios! { flags, "torture_flags":
    peeking_twice_sees_the_same("peek")
    waitall_waits_for_all("waitall")
    trunc_drops_bytes("trunc")
    dontwait_on_a_blocking_socket("dontwait")
    fionread_counts_payload("fionread")
    non_blocking_by_fcntl_and_by_ioctl("nonblock")
    receive_timeout("rcvtimeo")
    send_timeout("sndtimeo")
    send_timeout_beside_another_writer("sndtimeo-beside")
    peeking_at_a_large_record("peek-much")
    reading_and_writing_nothing("nothing")
}

/// The one thing that is not as bare: urgent data has no place in a WebSocket.
#[test]
fn urgent_data_is_refused() {
    for wire in Wire::selected() {
        let mut server = Server::start(Mode::of(wire), &mut command("torture_flags", &["oob"]));
        let transcript = play(&mut server, wire, &mut Rng::new(1));
        assert_eq!(transcript.server, ["send: EINVAL", "recv: EINVAL", "write: 1", "done"]);
        assert_eq!(transcript.client, ["client 0: expected bytes"]);
    }
}

/// Nor has an offset for the program's looks, since the library looks, too. The kernel has none either before Linux 6.10.
#[test]
fn an_offset_for_peeking_is_refused() {
    for wire in Wire::WEBSOCKET {
        let mut server = Server::start(Mode::of(wire), &mut command("torture_flags", &["peek-off"]));
        let transcript = play(&mut server, wire, &mut Rng::new(1));
        assert_eq!(transcript.server, ["SO_PEEK_OFF: EOPNOTSUPP", "peek: 10", "read: 10, right", "done"]);
    }
}

scenarios! { invariant_2_waiting_for_payload, "torture_wait":
    poll("poll-readable")
    ppoll("ppoll-readable")
    checked_poll("poll_chk-readable")
    checked_ppoll("ppoll_chk-readable")
    select("select-readable")
    pselect("pselect-readable")
    epoll_wait("epoll_wait-readable")
    epoll_pwait("epoll_pwait-readable")
    epoll_pwait2("epoll_pwait2-readable")
}

scenarios! { waiting_for_room, "torture_wait":
    poll("poll-writable")
    ppoll("ppoll-writable")
    select("select-writable")
    pselect("pselect-writable")
    epoll_wait("epoll_wait-writable")
    epoll_pwait2("epoll_pwait2-writable")
}

scenarios! { invariant_1_waiting_for_a_connection, "torture_wait":
    poll("poll-listening")
    ppoll("ppoll-listening")
    checked_poll("poll_chk-listening")
    checked_ppoll("ppoll_chk-listening")
    select("select-listening")
    pselect("pselect-listening")
    epoll_wait("epoll_wait-listening")
    epoll_pwait("epoll_pwait-listening")
    epoll_pwait2("epoll_pwait2-listening")
}

scenarios! { epoll, "torture_epoll":
    edges_come_once_for_payload_alone("edges")
    invariant_3_pushing_on_edges_until_eagain("push-until-eagain")
    invariant_3_pushing_on_edges_until_a_short_write("push-until-short")
    invariant_2_pulling_on_edges_until_eagain("pull-until-eagain")
    invariant_2_pulling_on_edges_until_a_short_read("pull-until-short")
    one_shot_with_worker_threads("oneshot")
    nested("nested")
    level_triggered_waits_sleep_through_noise("quiet")
    epoll_and_select_and_a_blocking_recv("selecting")
    a_registration_outlives_its_number("displaced")
}

scenarios! { signals, "torture_signal":
    waits_are_interrupted("eintr")
    waits_are_interrupted_amid_noise("eintr-noise")
    waits_for_readiness_are_never_restarted("never-restarted")
    reads_are_restarted("restarted")
    an_interrupted_waitall_gives_its_part("part")
    masks_are_in_force_while_the_call_waits("masks")
}

scenarios! { signal_handlers, "torture_handlers":
    write_in_between("writing")
    write_in_between_without_restart("writing-interrupted")
    interrupt_a_blocked_write("blocked")
    look_read_and_close("looking")
    jump_out_of_waits("jumping")
    jump_out_of_writes("jumping-from-a-write")
    are_what_the_program_has_set("dispositions")
    run_beside_forks("forking")
}

scenarios! { accepting, "torture_accept":
    accept_and_accept4("variants")
    receive_timeout_of_the_listener("timed")
    four_threads("threads")
    forked_workers("prefork")
    forked_workers_that_poll("prefork-poll")
    duplicates_of_the_listener("duplicate")
    everything_from_3_up_is_closed_first("closing-all")
    the_listener_is_closed_amid_handshakes("closed-listener")
    the_listener_is_made_blocking_by_another_process("made-blocking")
    every_number_is_the_programs_to_take("taken-numbers")
    who_waits_goes_on_waiting_when_the_listener_is_made_non_blocking("unblocked")
    an_array_for_every_number("every-number")
}

// Sixty-four processes on one listener; one-shot in a nested instance with worker threads; a daemon.
scenarios! { crowds, "torture_crowd":
    processes_that_accept("prefork-accept")
    processes_that_wait_with_epoll("prefork-epoll")
    processes_that_wait_exclusively("prefork-exclusive")
    nested_one_shot_with_worker_threads("nested")
    a_daemon_that_closes_everything("daemon")
    programs_that_accept("programs")
}

scenarios! { invariant_5_descriptors, "torture_fds":
    duplicates("duplicates")
    numbers_taken_over("replaced")
    numbers_used_again("reused")
    invariant_4_unrelated_descriptors("unrelated")
}

scenarios! { invariant_5_many_numbers_at_once, "torture_range":
    ranges("ranges")
    sweeps_spare_the_librarys_own("sweep")
    a_number_closed_unseen_is_plain("unseen")
    socket_options("options")
}

scenarios! { invariant_5_vfork, "torture_vfork":
    children_leave_the_parents_descriptors_alone("children")
    spawned_children("spawned")
}

// One program waits for the listener, another one accepts from it and has an environment without the library.
scenarios! { masters, "torture_handon":
    poll("poll-execve")
    select("select-execve")
    epoll("level-execve")
    edges("edge-execve")
    one_shot("oneshot-execve")
    nested("nested-execve")
    exclusive("exclusive-execve")
    only_fork("level-fork")
    execv("poll-execv")
    execvp("poll-execvp")
    execvpe("poll-execvpe")
    execl("poll-execl")
    execlp("poll-execlp")
    execle("poll-execle")
    fexecve("poll-fexecve")
    execveat("poll-execveat")
    the_system_calls("poll-raw")
    the_system_call_execveat("poll-raw_at")
    no_environment_and_a_large_one("poll-extremes")
    the_standard_input("poll-stdin")
    vfork("poll-vfork")
    vfork_and_the_standard_input("poll-vfork_stdin")
    posix_spawn("poll-spawn")
    posix_spawnp_of_a_copy("poll-spawn_copy")
}

// One process waits for the listener, another one that it has forked accepts from it.
scenarios! { sharing, "torture_share":
    a_child_for_each_connection("forking")
    children_that_are_woken_by_a_pipe("idle")
    the_parent_takes_over("taking-over")
    who_is_told_ends("leaving")
    several_at_a_time("several")
    a_child_that_waits_for_levels("levels")
    a_child_that_waits_for_edges("edges")
    a_child_that_waits_for_single_shots("single-shots")
    a_child_that_waits_exclusively("exclusive")
}

// Whatever call comes up, in any order; and whoever makes it.
scenarios! { random, "torture_random":
    calls("calls")
    calls_that_signals_interrupt("signals")
    calls_of_two_threads("threads")
    calls_of_processes_in_turn("processes")
    calls_of_all_kinds("all")
}

scenarios! { invariant_5_fork, "torture_fork":
    a_child_for_each_connection("per-connection")
    the_last_owner_ends_it("last-owner")
    one_process_reads_and_one_writes("apart")
    fork_amid_a_frame("middle")
    processes_take_turns("turns")
    a_child_has_no_part_in_later_connections("later")
}

scenarios! { invariant_5_races, "torture_races":
    copies_come_and_go("copying")
    two_last_closes("closing")
    registrations_come_and_go("churning")
    a_send_that_must_not_wait_beside_one_that_does("beside")
}

scenarios! { ending, "torture_end":
    shutdown_of_writing("shut-wr")
    shutdown_of_reading("shut-rd")
    shutdown_of_both("shut-both")
    reset_by_the_client("reset")
    writing_to_a_client_that_is_gone("peer-closed")
    fin_of_the_client("fin")
    a_client_that_ends_with_its_last_word("last-word")
    shutdown_behind_the_clients("shut-last")
    no_byte_before_a_close_is_lost("large-close")
    no_byte_of_a_non_blocking_socket_is_lost("nonblocking-close")
    no_byte_is_lost_to_a_client_that_goes_on_sending("noisy-close")
    no_byte_of_a_child_is_lost_to_such_a_client("noisy-child")
    exit_without_close("exiting")
    exit_at_once_without_close("exiting-at-once")
    twenty_connections_in_a_row("again")
}

scenarios! { threads, "torture_threads":
    reading_and_writing_at_full_speed("both-ways")
    three_writers("writers")
    a_blocked_reader_holds_up_no_writer("blocked-reader")
    a_blocked_writer_holds_up_no_reader("blocked-writer")
}

from studyroom.shared.chassis.nats.attempts import Attempts


def test_waits_grow_up_to_the_longest_and_never_beyond():
    attempts = Attempts(2.0)
    waits = [attempts.wait_seconds(0.0) for _ in range(200)]
    assert max(waits[:1]) <= 0.1
    assert max(waits[:4]) <= 0.8
    assert 1.0 < max(waits) <= 2.0


def test_a_connection_that_lasted_begins_with_short_waits_again():
    attempts = Attempts(60.0)
    for _ in range(10):
        attempts.wait_seconds(0.0)
    attempts.connected(100.0)
    assert attempts.wait_seconds(106.0) <= 0.1


def test_a_connection_that_ended_at_once_was_a_failed_attempt():
    def waits_after_short_connections() -> float:
        attempts = Attempts(60.0)
        for second in range(12):
            attempts.connected(float(second))
            last = attempts.wait_seconds(second + 0.5)
        return last

    assert max(waits_after_short_connections() for _ in range(20)) > 1.0


def test_a_server_that_was_lost_or_does_not_answer_is_tried_again_only_after_all_others():
    attempts = Attempts(2.0)
    attempts.tried("a")
    first = [attempts.next_server(["a", "b", "c"]) for _ in range(3)]
    assert first[2] == "a"
    assert [attempts.next_server(["a", "b", "c"]) for _ in range(3)] == first


def test_servers_that_are_gone_are_not_chosen_and_new_servers_come_first():
    attempts = Attempts(2.0)
    attempts.tried("a")
    attempts.tried("b")
    assert attempts.next_server(["b", "c"]) == "c"
    assert attempts.next_server(["b", "c"]) == "b"

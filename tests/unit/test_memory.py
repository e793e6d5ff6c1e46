from studyroom.shared.chassis.memory import HighWaterMark, trim


def test_the_tide_has_ebbed_once_half_of_many_are_gone_and_not_before():
    tide = HighWaterMark(at_least=100)
    assert [tide.has_halved(now) for now in (50, 200, 101, 100, 99, 51, 0)] == [False] * 3 + [True, False, False, True]


def test_few_are_not_worth_it():
    tide = HighWaterMark(at_least=100)
    assert not any(tide.has_halved(now) for now in (99, 0, 99, 0))


def test_giving_back_is_harmless():
    trim()

from studyroom.presence.ages import Ages


def test_a_revision_is_as_old_as_the_first_sample_that_has_it():
    ages = Ages()
    ages.sample(10, 1.0)
    ages.sample(20, 2.0)
    ages.sample(20, 3.0)

    assert [ages.written(revision, 9.0) for revision in (1, 10, 11, 20)] == [1.0, 1.0, 2.0, 2.0]


def test_what_no_sample_has_may_have_been_written_just_now():
    ages = Ages()
    assert ages.written(1, 9.0) == 9.0
    ages.sample(10, 1.0)
    assert ages.written(11, 9.0) == 9.0


def test_only_the_newest_samples_are_kept_and_none_of_another_stream():
    ages = Ages(kept=2)
    for number in range(1, 5):
        ages.sample(number, float(number))
    assert ages.written(1, 9.0) == 3.0
    ages.forget()
    assert ages.written(1, 9.0) == 9.0

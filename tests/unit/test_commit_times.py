from studyroom.presence.commit_times import CommitTimes


def test_a_revision_is_as_old_as_the_first_sample_that_has_it():
    commit_times = CommitTimes()
    commit_times.sample(10, 1.0)
    commit_times.sample(20, 2.0)
    commit_times.sample(20, 3.0)

    assert [commit_times.committed_by(revision, 9.0) for revision in (1, 10, 11, 20)] == [1.0, 1.0, 2.0, 2.0]


def test_a_revision_without_a_sample_may_have_been_written_just_now():
    commit_times = CommitTimes()
    assert commit_times.committed_by(1, 9.0) == 9.0
    commit_times.sample(10, 1.0)
    assert commit_times.committed_by(11, 9.0) == 9.0


def test_only_the_newest_samples_are_kept_and_none_of_another_stream():
    commit_times = CommitTimes(max_samples=2)
    for number in range(1, 5):
        commit_times.sample(number, float(number))
    assert commit_times.committed_by(1, 9.0) == 3.0
    commit_times.clear()
    assert commit_times.committed_by(1, 9.0) == 9.0

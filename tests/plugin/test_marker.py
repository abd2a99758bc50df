"""Fixtures and markers called like ours that a project has of its own; and ours without a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

THEIRS = """
    import pytest

    @pytest.fixture(scope="session")
    def energy():
        return 3

    @pytest.fixture
    def energy_gate():
        return "open"

    @pytest.fixture
    def energy_session():
        return "theirs"

    @pytest.fixture(params=[1, 2])
    def energy_claim(request):
        return request.param

    @pytest.fixture
    def finetune():
        return len

    @pytest.fixture
    def module_energy():
        return 5

    def test_fixtures(energy, energy_gate, energy_session, energy_claim, finetune, module_energy):
        assert (energy, energy_gate, energy_session) == (3, "open", "theirs")

    @pytest.mark.parametrize("energy", [1, 2])
    def test_parameter(energy):
        assert energy in (1, 2)

    @pytest.mark.parametrize("finetune", [True], indirect=True)
    def test_indirect(finetune):
        assert finetune is len

    @pytest.mark.energy("solar")
    def test_marked(): pass

    @pytest.mark.energy("solar", 3, source="wind")
    class TestMarked:
        def test_in_a_class(self): pass
"""


def test_what_a_project_calls_like_ours_needs_no_meter(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_meter = abacus\n")  # to open it would end the run
    pytester.makepyfile(THEIRS)

    result = pytester.runpytest("--strict-markers")

    result.assert_outcomes(passed=7)
    result.stdout.no_fnmatch_line("*= energy =*")


@pytest.mark.parametrize("line", ["energy(source): where it is from", "energy"])
def test_a_marker_that_the_project_registers_takes_what_it_likes(
    pytester: pytest.Pytester, line: str
) -> None:
    pytester.makeini(f"[pytest]\nenergy_meter = abacus\nmarkers =\n    slow: slow\n    {line}\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.energy
        def test_bare(): pass

        @pytest.mark.energy(500)
        def test_number(): pass

        @pytest.mark.energy(beam=13)
        def test_named(): pass
        """
    )

    pytester.runpytest("--strict-markers").assert_outcomes(passed=3)


def test_a_registered_marker_takes_arguments_of_our_names_too(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_meter = abacus\nmarkers = energy(level, tokens): theirs\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.energy("high", tokens=["a"])
        def test_texts(): pass

        @pytest.mark.energy(3, tokens=5)
        def test_numbers(): pass

        @pytest.mark.energy(tokens=5, level="high")
        def test_mixed(): pass
        """
    )

    pytester.runpytest("--strict-markers").assert_outcomes(passed=3)


@pytest.mark.parametrize("slip", ["max_joule=1", "max_joules=8, tolerence=2"])
def test_under_a_registered_marker_a_misspelt_limit_is_refused(
    pytester: pytest.Pytester, spending: Path, slip: str
) -> None:
    with (pytester.path / "tox.ini").open("a") as file:
        file.write("\nmarkers = energy: tests of energy\n")
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.energy({slip})
        def test_mine(): pass
        """
    )

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*is no argument of `@pytest.mark.energy`; did you mean *"])


def test_their_marker_and_ours_live_in_one_test(pytester: pytest.Pytester, spending: Path) -> None:
    with (pytester.path / "tox.ini").open("a") as file:
        file.write("\nmarkers = energy(source): where it is from\n")
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        pytestmark = pytest.mark.energy("solar")

        @pytest.mark.energy(max_joules=8)
        def test_mine():
            spend(9)

        def test_theirs():
            spend(9)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*`test_mine` used 9 J; allowed are 8 J*"])


def test_their_fixture_beside_our_gate(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from gated import Run

        @pytest.fixture
        def energy_session():
            return "theirs"

        def test_mine(energy_session, energy_gate):
            assert energy_session == "theirs"
            assert energy_gate.joules_per_token(Run("mine/model")).outcome == "recorded"
        """
    )

    pytester.runpytest().assert_outcomes(passed=1)


def test_a_fixture_of_theirs_that_uses_ours_is_metered(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.fixture
        def energy(energy):
            with energy.window("all"):
                yield energy

        def test_mine(energy):
            spend(3)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_mine/all*3.000 ± 0.000 J*measured*"])


def test_without_arguments_the_marker_meters_the_whole_test(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.energy
        def test_whole():
            spend(9)

        @pytest.mark.energy
        def test_parts(energy):
            with energy.window("part"):
                spend(2)
            spend(4)
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["test_whole *9.000 ± 0.000 J*measured*", "test_parts/part*2.000 ± 0.000 J*measured*"]
    )
    result.stdout.no_fnmatch_line("test_parts *")

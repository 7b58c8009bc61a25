"""What several test files use."""

import pytest


@pytest.fixture
def run(capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from minicnn import cli  # not at the top: the tests of the kernels run where there is no command line

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exited.value.code, out, err

    return call

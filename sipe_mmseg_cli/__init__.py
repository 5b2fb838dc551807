"""The command line: ``sipe-mmseg``, ``python -m sipe_mmseg`` and the files of ``tools/``, which all start here.

It lies beside ``sipe_mmseg`` and not in it, because importing that needs the whole stack and takes seconds: here
``--help`` is there at once, and ``check`` can say what is wrong with an installation that ``sipe_mmseg`` cannot be
imported in. For the same reasons each command imports what it needs when it runs.

:mod:`.main` finds the command; each other module but :mod:`.arguments` is one, with ``main(words, prog)``.
"""

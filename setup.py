"""Compiles the modules of memrouter.native. Without a C compiler, Python does what they do."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(Path("src/memrouter/native").glob("*.pyx"))

modules = cythonize(
    [
        Extension(
            f"memrouter.native.{source.stem}",
            [str(source)],
            extra_compile_args=["-O3", "-fno-trapping-math", "-fno-math-errno"],
        )
        for source in SOURCES
    ],
    build_dir="build/cython",
    language_level=3,
)
for module in modules:
    module.optional = True  # said before, cythonize would forget it

setup(ext_modules=modules)

"""The one compiled part, which the package works without; everything else stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "memformer.memory._fused",
            [f"memformer/memory/_{part}.cpp" for part in ("fused", "token", "window")],
            language="c++",
            extra_compile_args=["-O3", "-std=c++17", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,  # without a compiler the build goes on
        )
    ]
)

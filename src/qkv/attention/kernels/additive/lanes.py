"""A vector as one value, in loops that numba compiles.

LLVM makes vectors of the innermost loop alone, and what that loop sums goes through memory. With a
vector as a value the sums of a loop around it stay in registers. It has ALIGNED numbers: one
register of the widest kind, several of a narrower.

    load(array, at), store(array, at, x), spread(array, at), splat(number)
    x + y, x - y, x * y, over(x), fused(x, y, z), unfused(x, y, z), bounded(x, limit)
    higher(x, y), unless(x, y, z), total(x), top(x), fold_8(x, y)
    turn(source, at, step, target, to)

Places (`at`) count numbers from an array's first, whatever its shape; nothing is checked.
"""

# mypy: ignore-errors

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from qkv.attention.kernels.additive.task import ALIGNED


class Vector(types.Type):
    """ALIGNED numbers of a kind."""

    def __init__(self, number):
        self.number = number
        super().__init__(name=f"Vector({number})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(_bare(kind.number), ALIGNED))


def _bare(number):
    return ir.FloatType() if number == types.float32 else ir.DoubleType()


def _numbers(places):
    """A constant: which lane each lane of a shuffle is."""
    whole = ir.IntType(32)
    return ir.Constant(ir.VectorType(whole, len(places)), [whole(place) for place in places])


def _place(context, builder, kind, array, at, wanted):
    """The address of a number of an array, as one of what is wanted."""
    first = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [at]), wanted.as_pointer())


def _everywhere(builder, kind, number):
    vector = ir.VectorType(_bare(kind.number), ALIGNED)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), _numbers([0] * ALIGNED))


def _called(builder, name, kind, result, arguments, flags=()):
    """The result of one of LLVM's own functions."""
    bits = 32 if kind.number == types.float32 else 64
    taken = ir.FunctionType(result, [argument.type for argument in arguments])
    function = get_or_insert_function(builder.module, taken, f"llvm.{name}.v{ALIGNED}f{bits}")
    return builder.call(function, arguments, fastmath=flags)


@intrinsic
def load(context, array, at):
    """The numbers from a place on."""

    def generate(context, builder, signature, arguments):
        kind = signature.return_type
        wanted = ir.VectorType(_bare(kind.number), ALIGNED)
        found = builder.load(_place(context, builder, signature.args[0], *arguments, wanted))
        found.align = kind.number.bitwidth // 8
        return found

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def store(context, array, at, x):
    """Write the numbers from a place on."""

    def generate(context, builder, signature, arguments):
        array, at, x = arguments
        place = _place(context, builder, signature.args[0], array, at, x.type)
        builder.store(x, place).align = signature.args[2].number.bitwidth // 8
        return context.get_dummy_value()

    return types.none(array, types.intp, x), generate


@intrinsic
def spread(context, array, at):
    """One number of an array in every lane."""

    def generate(context, builder, signature, arguments):
        kind = signature.return_type
        place = _place(context, builder, signature.args[0], *arguments, _bare(kind.number))
        return _everywhere(builder, kind, builder.load(place))

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def splat(context, number):
    """A number in every lane."""

    def generate(context, builder, signature, arguments):
        return _everywhere(builder, signature.return_type, arguments[0])

    return Vector(number)(number), generate


def _operation(symbol, name):
    @intrinsic
    def operation(context, x, y):
        def generate(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments, flags=("contract",))

        return x(x, y), generate

    @overload(symbol)
    def of_vectors(x, y):
        if isinstance(x, Vector) and isinstance(y, Vector):
            return lambda x, y: operation(x, y)
        return None


for _symbol, _name in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _operation(_symbol, _name)


@intrinsic
def over(context, x):
    """1 / x, for finite x: in float32 an estimate and one step of Newton's (see ESTIMATE)."""

    def generate(context, builder, signature, arguments):
        one = _everywhere(builder, signature.return_type, arguments[0].type.element(1.0))
        flags = ("contract", "arcp", "ninf") if x.number == types.float32 else ()
        return builder.fdiv(one, arguments[0], flags=flags)

    return x(x), generate


@intrinsic
def fused(context, x, y, z):
    """X y + z."""

    def generate(context, builder, signature, arguments):
        return _called(builder, "fmuladd", x, arguments[0].type, arguments)

    return x(x, y, z), generate


@intrinsic
def unfused(context, x, y, z):
    """Z - x y."""

    def generate(context, builder, signature, arguments):
        minus = builder.fneg(arguments[0])
        return _called(builder, "fmuladd", x, minus.type, [minus, *arguments[1:]])

    return x(x, y, z), generate


@intrinsic
def bounded(context, x, limit):
    """X brought to [-limit, limit]; not a number stays so."""

    def generate(context, builder, signature, arguments):
        x, limit = arguments
        minus = builder.fneg(limit)
        x = builder.select(builder.fcmp_ordered(">", x, limit), limit, x)
        return builder.select(builder.fcmp_ordered("<", x, minus), minus, x)

    return x(x, limit), generate


@intrinsic
def power_of_two(context, x):
    """2^n in float32, where n was added to 1.5 2^23."""

    def generate(context, builder, signature, arguments):
        whole = ir.VectorType(ir.IntType(32), ALIGNED)
        bits = builder.bitcast(arguments[0], whole)
        bits = builder.add(bits, ir.Constant(whole, [127] * ALIGNED))
        bits = builder.shl(bits, ir.Constant(whole, [23] * ALIGNED))
        return builder.bitcast(bits, arguments[0].type)

    return x(x), generate


@intrinsic
def exponential(context, x):
    """exp(x), by the C library, lane by lane."""

    def generate(context, builder, signature, arguments):
        return _called(builder, "exp", x, arguments[0].type, arguments)

    return x(x), generate


@intrinsic
def total(context, x):
    """The sum of all lanes."""

    def generate(context, builder, signature, arguments):
        bare = arguments[0].type.element
        return _called(
            builder, "vector.reduce.fadd", x, bare, [bare(0.0), *arguments], ("reassoc",)
        )

    return x.number(x), generate


def _higher(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@intrinsic
def higher(context, x, y):
    """X where it is higher than y, y elsewhere."""

    def generate(context, builder, signature, arguments):
        return _higher(builder, *arguments)

    return x(x, y), generate


@intrinsic
def top(context, x):
    """The highest of all lanes."""

    def generate(context, builder, signature, arguments):
        (x,), half = arguments, ALIGNED // 2
        while half:
            others = _numbers([(lane + half) % ALIGNED for lane in range(ALIGNED)])
            x = _higher(builder, x, builder.shuffle_vector(x, x, others))
            half //= 2
        return builder.extract_element(x, ir.IntType(32)(0))

    return x.number(x), generate


@intrinsic
def unless(context, x, y, z):
    """0 where x is y, else z."""

    def generate(context, builder, signature, arguments):
        x, y, z = arguments
        nothing = ir.Constant(z.type, [z.type.element(0.0)] * ALIGNED)
        return builder.select(builder.fcmp_ordered("==", x, y), nothing, z)

    return x(x, y, z), generate


def _halves(half):
    """Of two vectors, the first halves of each group of lanes, and the second."""
    first = [n for n in range(2 * ALIGNED) if n % (2 * half) < half]
    return _numbers(first), _numbers([n + half for n in first])


def _fold(half):
    @intrinsic
    def fold(context, x, y):
        def generate(context, builder, signature, arguments):
            first, second = (builder.shuffle_vector(*arguments, lanes) for lanes in _halves(half))
            return builder.fadd(first, second, flags=("contract",))

        return x(x, y), generate

    return fold


fold_8, fold_4, fold_2, fold_1 = (_fold(half) for half in (8, 4, 2, 1))
"""Halves of groups of lanes are added: of 16 vectors, four rounds leave the 16 totals in order."""


@intrinsic
def turn(context, source, at, step, target, to):
    """Write ALIGNED columns of ALIGNED rows, which are `step` apart, as rows that lie together."""

    def generate(context, builder, signature, arguments):
        array, at, step, out, to = arguments
        vector = ir.VectorType(_bare(source.dtype), ALIGNED)
        rows = []
        for row in range(ALIGNED):
            place = builder.add(at, builder.mul(step, step.type(row)))
            found = builder.load(_place(context, builder, source, array, place, vector))
            found.align = source.dtype.bitwidth // 8
            rows.append(found)
        half = ALIGNED // 2
        while half:
            masks = _halves_of_two(half)
            for row in (n for n in range(ALIGNED) if n % (2 * half) < half):
                pair = rows[row], rows[row + half]
                rows[row], rows[row + half] = (builder.shuffle_vector(*pair, m) for m in masks)
            half //= 2
        for row, x in enumerate(rows):
            place = builder.add(to, to.type(row * ALIGNED))
            written = builder.store(x, _place(context, builder, target, out, place, vector))
            written.align = source.dtype.bitwidth // 8
        return context.get_dummy_value()

    sizes = types.intp, types.intp
    return types.none(source, *sizes, target, types.intp), generate


def _halves_of_two(half):
    """What two rows exchange: the second halves of one's groups for the first of the other's."""
    lanes = range(ALIGNED)
    first = [n if n % (2 * half) < half else ALIGNED + n - half for n in lanes]
    second = [n + half if n % (2 * half) < half else ALIGNED + n for n in lanes]
    return _numbers(first), _numbers(second)

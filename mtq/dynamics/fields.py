"""Named fields of the states of in-graph environments, and blocks of entities that come and go."""

import math
from types import SimpleNamespace
from typing import Any

import tensorflow as tf


class Block:
    """The declaration of a block of entities, of which each copy of an environment has at most K at once.

    Args:
        number: The number of slots, K.
        *features: The names of the entities' features, each of which is one number. Every entity also has a flag
            `alive`, which must not be among them.
    """

    def __init__(self, number: int, *features: str) -> None:
        if not features or len({*features, "alive"}) != len(features) + 1:
            raise ValueError(
                f"The features of a Block must have different names other than 'alive'. Received: {list(features)}. "
                "Name each feature once; the flag 'alive' is added."
            )
        self.number, self.features = number, features


class Entities(SimpleNamespace):
    """The entities of a block in N copies of an environment.

    Attributes:
        alive: Whether there is an entity in each slot, `[N, K]` bool.
        …: The features under their names, each `[N, K]` float32. They are arbitrary in slots without an entity.
    """

    alive: tf.Tensor

    def first_free(self, where: tf.Tensor) -> tf.Tensor:
        """Returns the first slot without an entity in some copies.

        Args:
            where: Whether a copy needs a slot, `[N]` bool.

        Returns:
            The slots, `[N, K]` bool, at most one in each copy. In a copy without a free slot there is none.
        """
        free = ~self.alive
        return free & (tf.cumsum(tf.cast(free, tf.int32), axis=1) == 1) & where[:, None]

    def add(self, slots: tf.Tensor, **features: Any) -> None:
        """Puts new entities into slots.

        Args:
            slots: The slots, `[N, K]` bool.
            **features: All features of the new entities: numbers, or tensors `[N]` or `[N, K]` float32.

        Raises:
            ValueError: A feature is missing or unknown.
        """
        if {*features, "alive"} != set(vars(self)):
            raise ValueError(
                f"add must be given all features of the entities, {sorted(set(vars(self)) - {'alive'})}. Received: "
                f"{sorted(features)}."
            )
        for name, value in features.items():
            value = tf.convert_to_tensor(value, tf.float32)
            value = value[:, None] if value.shape.rank == 1 else value
            setattr(self, name, tf.where(slots, value, getattr(self, name)))
        self.alive |= slots


class Fields:
    """The named fields of a state. A state is one vector `[N, S]` of N copies of an environment.

    Args:
        **fields: The shape of each field without the dimension N, such as `()` for a number; or a `Block` of entities.

    Attributes:
        declared: The fields by name, as they were given.
        size: The number of numbers in the state of one copy, S.

    Example:
        >>> fields = Fields(paddle=(), bricks=(3, 10), cars=Block(8, "x", "speed"))
        >>> state = fields.fill(2, paddle=4.0, bricks=1.0)  # the state of two copies; there are no cars
        >>> s = fields.unpack(state)
        >>> s.paddle += 1.0
        >>> s.cars.add(s.cars.first_free(tf.constant([True, False])), x=0.0, speed=2.0)
        >>> fields.pack(s).shape
        TensorShape([2, 55])
    """

    def __init__(self, **fields: tuple[int, ...] | Block) -> None:
        self.declared = fields
        self._shapes = {
            name: (field.number, len(field.features) + 1) if isinstance(field, Block) else field
            for name, field in fields.items()
        }
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.size = sum(self._sizes)

    def fill(self, num_copies: int, **values: Any) -> tf.Tensor:
        """Returns a state whose fields have given values.

        Args:
            num_copies: The number of copies of the environment, N.
            **values: The values of fields that are not blocks: numbers, or tensors that broadcast to `[N, …]`. Other
                fields are 0, and blocks hold no entities.

        Returns:
            The state, `[N, S]` float32.

        Raises:
            ValueError: A name is not that of a field, or is that of a block.
        """
        plain = [name for name, field in self.declared.items() if not isinstance(field, Block)]
        if not set(values) <= set(plain):
            raise ValueError(f"The values must be those of the fields {plain}. Received: {sorted(values)}.")
        parts = [
            tf.broadcast_to(tf.cast(values.get(name, 0.0), tf.float32), [num_copies, *shape])
            for name, shape in self._shapes.items()
        ]
        return self._concat(parts)

    def unpack(self, state: tf.Tensor) -> SimpleNamespace:
        """Returns the fields of a state.

        Args:
            state: The state, `[N, S]` float32.

        Returns:
            A namespace with an attribute for each field: `[N, …]` float32, or `Entities`. Its attributes can be set;
            the state stays as it is.
        """
        unpacked = SimpleNamespace()
        for part, name in zip(tf.split(state, self._sizes, axis=1), self.declared, strict=True):
            values, field = tf.reshape(part, [-1, *self._shapes[name]]), self.declared[name]
            if isinstance(field, Block):
                alive, *features = tf.unstack(values, axis=-1)
                values = Entities(alive=alive > 0, **dict(zip(field.features, features, strict=True)))
            setattr(unpacked, name, values)
        return unpacked

    def pack(self, fields: SimpleNamespace) -> tf.Tensor:
        """Returns the state that has given fields.

        Args:
            fields: The fields, as `unpack` returns them. A field may be of any dtype.

        Returns:
            The state, `[N, S]` float32.

        Raises:
            ValueError: The names are not those of the fields.
        """
        if set(vars(fields)) != set(self.declared):
            raise ValueError(
                f"The fields of a state must be {list(self.declared)}. Received: {list(vars(fields))}. Check the names "
                "that were set."
            )
        return self._concat([self._flat(field, getattr(fields, name)) for name, field in self.declared.items()])

    def _flat(self, field: tuple[int, ...] | Block, values: Any) -> tf.Tensor:
        if not isinstance(field, Block):
            return tf.cast(values, tf.float32)
        parts = [values.alive, *(getattr(values, name) for name in field.features)]
        return tf.stack([tf.cast(part, tf.float32) for part in parts], axis=-1)

    def _concat(self, parts: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat([tf.reshape(part, [-1, size]) for part, size in zip(parts, self._sizes, strict=True)], axis=1)

// Plots open with the spatial size on the x axis and every solver drawn; whatever the address says comes first.
'use strict';

$(document).ready(function() {
    var register = $.asv.register_page;

    // With a dozen curves asv's legend hides the small sizes; between the two largest there are no points to hide.
    $('<style>#main-graph .legend > * { left: 56% !important; }</style>').appendTo('head');

    function with_defaults(params) {
        var benchmark = $.asv.main_json.benchmarks[params.benchmark];
        if (!benchmark || $.inArray('size', benchmark.param_names) === -1) {
            return params;
        }
        var filled = $.extend({'x-axis': ['size']}, params);
        if (benchmark.unit === 'seconds' || benchmark.unit === 'reference kernels' || benchmark.unit === 'bytes') {
            filled = $.extend({'y-axis-scale': ['log']}, filled);
        }
        if (filled['x-axis'][0] !== 'size') {
            return filled;
        }
        $.each(benchmark.param_names, function(i, name) {
            var key = 'p-' + name;
            if (filled[key] === undefined && name !== 'size') {
                // asv would cut the curves off after eight; one centring at a time keeps them readable.
                filled[key] = name === 'centring' ? [benchmark.params[i][0]] : benchmark.params[i].slice();
            }
        });
        return filled;
    }

    $.asv.register_page = function(name, show) {
        register(name, name === 'graphdisplay' ? function(params) { show(with_defaults(params)); } : show);
    };
});
